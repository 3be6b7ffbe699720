// A doctor's room: who is called, who waits, and whether the doctor is there.

import {
  ask,
  claims,
  goTo,
  html,
  languagePicker,
  listen,
  loadTexts,
  named,
  nothing,
  query,
  render,
  signInView,
  signOut,
  spanOf,
  staleNotice,
  t,
  takeToken,
  today,
} from "./board.js";
import { confirm, confirmation } from "./confirm.js";

const facility = query.get("facility");
const department = query.get("department");
const date = query.get("date") ?? today();
const doctorId = () => claims()?.doctor_id ?? query.get("doctor");
let day = null;
let health = { stale: false, heardAt: null };
let chosen = query.get("slot");
let outcome = "";
let isBusy = false;

const doctor = () => day?.doctors.find((each) => each.doctor_id === doctorId());
const sessions = () => doctor()?.sessions ?? [];

/** Gives the session that is worked in: the one chosen, else the first that somebody is called or waits in, or open. */
function session() {
  const all = sessions();
  return (
    all.find((each) => each.slot === chosen) ??
    all.find((each) => each.now !== null || each.here > 0) ??
    all.find((each) => !each.closed) ??
    all.at(-1)
  );
}

async function act(what) {
  if (isBusy) return;
  isBusy = true;
  outcome = "";
  draw();
  try {
    outcome = await what();
  } catch (refusal) {
    outcome = t("desk.failed", { why: refusal.text ?? refusal.message });
  }
  isBusy = false;
  draw();
}

const where = () => ({ facility_id: facility, department_id: department, date });
const tokenId = (number) => `${facility}.${department}.${date.replaceAll("-", "")}.${number}`;
const told = (token) => t(`desk.said.${token.status}`, { number: token.token_no, doctor: doctor().name });

const callNext = () =>
  act(async () => told(await ask("POST", `/doctors/${doctorId()}/call-next`, { ...where(), slot: session().slot })));
const complete = () => act(async () => told(await ask("POST", `/tokens/${tokenId(session().now)}/complete`)));
const skip = () => act(async () => told(await ask("POST", `/tokens/${tokenId(session().now)}/no-show`)));

async function setAvailable(available, slot) {
  if (!available && !(await confirm(t(slot ? "room.pause.sure" : "room.leave.sure", { slot }), t(slot ? "room.pause" : "room.leave")))) return;
  await act(async () => {
    const body = { ...where(), available, ...(slot ? { slot } : {}) };
    await ask("PUT", `/doctors/${doctorId()}/availability`, body);
    return t(available ? "room.said.back" : "room.said.away");
  });
}

const KEYS = { n: () => session() && callNext(), d: () => session()?.now && complete(), s: () => session()?.now && skip() };

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select, dialog *")) return;
  KEYS[event.key.toLowerCase()]?.();
}

function atWork(now) {
  const isClosedToAll = sessions().every((each) => each.closed);
  const isAway = sessions().every((each) => each.closed || !each.available);
  return html`<section class="calling" aria-live="polite">
      ${now.now === null ? html`<p class="nobody">${t("room.nobody-called")}</p>` : html`<p class="big">${now.now}</p>`}
      <p class="outcome" role="status">${outcome}</p>
    </section>
    <p class="actions">
      <button class="first" ?disabled=${isBusy || now.here === 0} @click=${callNext}>${t("room.call")}</button>
      <button ?disabled=${isBusy || now.now === null} @click=${complete}>${t("room.complete")}</button>
      <button ?disabled=${isBusy || now.now === null} @click=${skip}>${t("room.skip")}</button>
    </p>
    <section>
      <h2>${t("room.waiting")} <small>${now.here}</small></h2>
      ${now.here
        ? html`<ol class="queue">
            ${now.next.map((number) => html`<li>${number}</li>`)}${now.here > now.next.length ? html`<li>…</li>` : nothing}
          </ol>`
        : html`<p class="quiet">${t("room.nobody-here")}</p>`}
      <p class="quiet">${t("desk.seats")}: ${now.taken}/${now.capacity}</p>
    </section>
    <p class="actions">
      ${now.available
        ? html`<button ?disabled=${isBusy || now.closed} @click=${() => setAvailable(false, now.slot)}>${t("room.pause")}</button>`
        : html`<button class="first" ?disabled=${isBusy || now.closed} @click=${() => setAvailable(true, now.slot)}>${t("room.return")}</button>`}
      ${isAway
        ? html`<button ?disabled=${isBusy || isClosedToAll} @click=${() => setAvailable(true)}>${t("room.return-day")}</button>`
        : html`<button ?disabled=${isBusy || isClosedToAll} @click=${() => setAvailable(false)}>${t("room.leave")}</button>`}
    </p>
    <p class="quiet keys">${t("room.keys")}</p>`;
}

function draw() {
  const now = session();
  const choose = (slot) => {
    chosen = slot;
    draw();
  };
  document.title = t("room.title");
  render(
    html`<header>
        <h1>${doctor()?.name ?? t("room.title")} <small>${doctor()?.room ? t("room", { room: doctor().room }) : named(department)}</small></h1>
        ${languagePicker(draw)}
        <button @click=${signOut}>${t("sign-out")}</button>
      </header>
      ${staleNotice(health)}
      <main class="narrow">
        ${!day ? html`<p class="empty">${t("loading")}</p>` : nothing}
        ${day && !doctorId() ? choice() : nothing}
        ${day && doctorId() && !now ? html`<p class="empty">${t("room.no-sessions")}</p>` : nothing}
        ${now
          ? html`<nav class="slots" aria-label=${t("desk.slots")}>
                ${sessions().map(
                  (each) => html`<button aria-pressed=${each.slot === now.slot} @click=${() => choose(each.slot)}>
                    ${spanOf(each.slot)} ${each.closed ? t("closed") : each.available ? "" : t("away")}
                  </button>`,
                )}
              </nav>
              ${atWork(now)}`
          : nothing}
      </main>
      ${confirmation()}`,
    document.body,
  );
}

function choice() {
  return html`<section>
    <h2>${t("room.choose")}</h2>
    <ul class="choices">
      ${day.doctors.map(
        (each) => html`<li><button @click=${() => goTo({ doctor: each.doctor_id })}><bdi>${each.name}</bdi></button></li>`,
      )}
    </ul>
  </section>`;
}

await loadTexts();
if (takeToken()) {
  document.addEventListener("keydown", pressed);
  draw();
  listen(`/live/${facility}?${new URLSearchParams({ date, department })}`, (state, healthNow) => {
    health = healthNow;
    day = state ?? day;
    draw();
  });
} else {
  render(signInView(), document.body);
}
