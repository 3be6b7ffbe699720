// One token, for the one who was given its link: where it stands, when it may be called, what happened and why.

import {
  clock,
  currentLanguage,
  estimateOf,
  has,
  html,
  languagePicker,
  listen,
  loadTexts,
  localeOf,
  named,
  nothing,
  render,
  staleNotice,
  t,
} from "./board.js";

const ESTIMATE_EVERY_MS = 60_000;
const [, , tokenId, code] = location.pathname.split("/");
let state = null;
let health = { stale: false, heardAt: null };
let token = null; // with its story
let isUnknown = false;
let askedFor = null;
let again = null;

async function readStory() {
  clearTimeout(again);
  const answer = await fetch(`/follow/${tokenId}/${code}/story`).catch(() => null);
  if (answer?.ok) token = await answer.json();
  isUnknown = answer?.status === 404;
  // An event may be told before it can be read.
  const isBehind = state?.changed_by && token && !token.story.some((each) => each.id === state.changed_by);
  again = setTimeout(readStory, isBehind || !answer?.ok ? 500 : ESTIMATE_EVERY_MS);
  draw();
}

/** Gives what a state means to its patient: the headline, and what to do. */
function said() {
  const { status, position, ahead, doctor, room } = state;
  const values = { doctor, position, ahead, room };
  if (status === "CHECKED_IN" && ahead > 0) {
    return [t("follow.CHECKED_IN.ahead", values), t("follow.CHECKED_IN.hint", values)];
  }
  const hint = status === "CALLED" && room ? "follow.CALLED.room" : `follow.${status}.hint`;
  return [t(`follow.${status}`, values), t(hint, values)];
}

function line(event) {
  const key = event.reason && has(`story.${event.type}.${event.reason}`) ? `.${event.reason}` : "";
  const doctor = token.doctors[event.doctor_id] ?? event.doctor_id;
  return html`<li>
    <time datetime=${event.time}>${clock(event.time)}</time>
    <p>${t(`story.${event.type}${key}`, { doctor, position: event.position })}</p>
  </li>`;
}

function draw() {
  document.title = t("follow.title");
  render(
    html`<header>
        <h1>${t("follow.title")}</h1>
        ${languagePicker(draw)}
      </header>
      ${isUnknown ? nothing : staleNotice(health)}
      <main class="narrow">
        ${isUnknown ? html`<p class="empty">${t("follow.unknown")}</p>` : state ? known() : html`<p class="empty">${t("loading")}</p>`}
      </main>`,
    document.body,
  );
}

function known() {
  const [headline, hint] = said();
  const day = new Date(`${state.date}T12:00`).toLocaleDateString(localeOf(currentLanguage()), { dateStyle: "long" });
  const waits = ["WAITLISTED", "CONFIRMED", "CHECKED_IN"].includes(state.status);
  const estimate = waits ? token?.estimate : null;
  return html`<section class="ticket ${state.status}" aria-live="polite">
      <p class="big">${state.token_no}</p>
      <h2>${headline}</h2>
      <p>${hint}</p>
      ${state.status === "WAITLISTED" && state.is_present ? html`<p>${t("follow.present")}</p>` : nothing}
      ${waits && !state.doctor_is_there ? html`<p class="away">${t("follow.doctor-away", { doctor: state.doctor })}</p>` : nothing}
      ${estimate
        ? html`<p class="estimate">${estimateOf(estimate)}</p>`
        : nothing}
      ${waits && state.now !== null ? html`<p>${t("follow.now", { number: state.now })}</p>` : nothing}
    </section>
    <p class="quiet">${named(state.department_id)} · ${t("follow.slot", { date: day, slot: state.slot })}</p>
    ${token
      ? html`<section>
          <h2>${t("follow.story")}</h2>
          <ol class="story">${token.story.toReversed().map(line)}</ol>
        </section>`
      : nothing}`;
}

await loadTexts();
draw();
listen(`/live/follow/${tokenId}/${code}`, (now, healthNow) => {
  health = healthNow;
  if (now) {
    state = now;
    const asked = `${now.status} ${now.changed_by}`;
    if (asked !== askedFor) {
      askedFor = asked;
      readStory();
    }
  }
  draw();
});
readStory();
