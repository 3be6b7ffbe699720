// The desk: the day's pools, their tokens, and all that a reception does with them, by keyboard.

import {
  address,
  ask,
  html,
  languagePicker,
  listen,
  loadTexts,
  named,
  nothing,
  query,
  readFrom,
  render,
  repeat,
  signInView,
  signOut,
  spanOf,
  staleNotice,
  t,
  takeToken,
  today,
} from "./board.js";
import { confirm, confirmation } from "./confirm.js";

const READ_AFTER_MS = 120; // of the last change: what comes at once is read at once
const CLASSES = ["WALK_IN", "ONLINE", "FOLLOW_UP", "PAID", "EMERGENCY"];
const ENDED = new Set(["COMPLETED", "CANCELLED", "NO_SHOW", "EXPIRED"]);
const ORDER = { EMERGENCY: 1, PAID: 2, FOLLOW_UP: 3, ONLINE: 4, WALK_IN: 5 };
const OUTCOMES_KEPT = 6;

const facility = query.get("facility");
const department = query.get("department");
const date = query.get("date") ?? today();
const where = { facility_id: facility, department_id: department, date };
let day = null;
let health = { stale: false, heardAt: null };
let chosen = null;
let tokens = [];
let wanted = "";
let withEnded = false;
const outcomes = [];

// ---- what is there

const slot = () =>
  day?.slots.find((each) => each.slot === chosen) ?? day?.slots.find((each) => !each.closed) ?? day?.slots.at(-1);

const sessions = () =>
  (day?.doctors ?? []).flatMap((doctor) =>
    doctor.sessions.filter((each) => each.slot === slot()?.slot).map((each) => ({ ...doctor, ...each })),
  );

const nameOf = (doctorId) => day?.doctors.find((each) => each.doctor_id === doctorId)?.name ?? doctorId ?? "";

let reading = null;
let isReadingAgain = false;

/** Reads the pool's tokens; asked while it reads, it reads once more. */
async function readTokens() {
  if (reading) {
    isReadingAgain = true;
    return;
  }
  reading = slot()?.slot;
  if (!reading) return;
  try {
    const found = [];
    const asked = { ...where, slot: reading, limit: 200 };
    for (let page = {}; page; ) {
      page = await ask("GET", address("/tokens", asked));
      found.push(...page.tokens);
      if (!page.next) break;
      asked.cursor = page.next;
    }
    if (reading === slot()?.slot) tokens = found;
  } catch (refusal) {
    say(t("desk.failed", { why: refusal.text ?? refusal.message }), true);
  }
  reading = null;
  draw();
  if (isReadingAgain) {
    isReadingAgain = false;
    readTokens();
  }
}

let soon = null;

function readSoon() {
  clearTimeout(soon);
  soon = setTimeout(readTokens, READ_AFTER_MS);
}

function shown() {
  const text = wanted.trim().toLowerCase();
  const matches = (token) => `${token.token_no}` === text || token.patient_id?.toLowerCase().includes(text);
  const waiting = tokens
    .filter((each) => each.status === "WAITLISTED")
    .sort((a, b) => ORDER[a.source] - ORDER[b.source] || a.token_no - b.token_no);
  const places = new Map(waiting.map((each, place) => [each.token_id, place + 1]));
  return tokens
    .filter((each) => (text ? matches(each) : withEnded || !ENDED.has(each.status)))
    .map((each) => ({ ...each, place: places.get(each.token_id) }));
}

// ---- what is done

function say(text, isBad = false) {
  outcomes.unshift({ text, isBad, at: Date.now() });
  outcomes.length = Math.min(outcomes.length, OUTCOMES_KEPT);
  draw();
}

async function act(what) {
  try {
    say(await what());
  } catch (refusal) {
    say(t("desk.failed", { why: refusal.text ?? refusal.message }), true);
  }
  readSoon();
}

function told(token) {
  const values = { number: token.token_no, doctor: nameOf(token.doctor_id), position: token.position };
  const waitsHere = token.status === "WAITLISTED" && token.position === undefined;
  return t(`desk.said.${waitsHere ? "CHECKED_IN" : token.status}`, values);
}

const ACTIONS = {
  c: {
    name: "desk.check-in",
    fits: (token) => token.status === "CONFIRMED" || (token.status === "WAITLISTED" && !token.checked_in_at),
    run: (token) => act(async () => told(await ask("POST", `/tokens/${token.token_id}/check-in`))),
  },
  n: {
    name: "desk.no-show",
    fits: (token) => token.status === "CONFIRMED" || token.status === "CALLED",
    sure: "desk.no-show.sure",
    run: (token) => act(async () => told(await ask("POST", `/tokens/${token.token_id}/no-show`))),
  },
  x: {
    name: "desk.cancel",
    fits: (token) => ["WAITLISTED", "CONFIRMED", "CHECKED_IN"].includes(token.status),
    sure: "desk.cancel.sure",
    run: (token) => act(async () => told(await ask("POST", `/tokens/${token.token_id}/cancel`, {}))),
  },
  e: {
    name: "desk.upgrade",
    fits: (token) => token.source !== "EMERGENCY" && ["WAITLISTED", "CONFIRMED", "CHECKED_IN"].includes(token.status),
    sure: "desk.upgrade.sure",
    run: (token) =>
      act(async () =>
        told(
          await ask("POST", "/tokens", { ...where, slot: token.slot, patient_id: token.patient_id, source: "EMERGENCY" }),
        ),
      ),
  },
};

async function run(key, token) {
  const action = ACTIONS[key];
  if (!action?.fits(token)) return;
  const row = document.activeElement?.closest("tr");
  if (!action.sure || (await confirm(t(action.sure, { number: token.token_no }), t(action.name)))) {
    await action.run(token);
  }
  row?.focus();
}

async function book(event) {
  event.preventDefault();
  const form = event.target;
  const said = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  await act(async () => {
    const token = await ask("POST", "/tokens", { ...where, slot: slot().slot, ...said, patient_id: said.patient_id.trim() });
    form.reset();
    return told(token);
  });
  form.elements.patient_id.focus();
}

async function setSeats(event, session) {
  event.preventDefault();
  const capacity = event.target.elements.capacity.valueAsNumber;
  await act(async () => {
    const body = { ...where, slot: session.slot, capacity };
    const now = await ask("PUT", `/doctors/${session.doctor_id}/capacity`, body);
    return t(now.over_by ? "desk.said.over" : "desk.said.seats", { doctor: session.name, capacity, over: now.over_by });
  });
}

async function close() {
  const pool = slot();
  if (await confirm(t("desk.close.sure", pool), t("desk.close"))) {
    await act(async () => t("desk.said.closed", await ask("POST", "/slots/close", { ...where, slot: pool.slot })));
  }
}

async function showLink(token) {
  try {
    const link = await ask("GET", `/links/${token.token_id}`);
    const dialog = document.querySelector("dialog.link");
    dialog.querySelector("img").src = link.qr;
    dialog.querySelector("a").href = link.url;
    dialog.querySelector("a").textContent = link.url;
    dialog.showModal();
  } catch (refusal) {
    say(t("desk.failed", { why: refusal.text ?? refusal.message }), true);
  }
}

// ---- by keyboard

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("dialog")) return;
  if (event.key === "Escape" && event.target.matches("input")) event.target.blur();
  const isTyping = event.target.matches("input, select");
  const key = event.key.toLowerCase();
  const row = event.target.closest("tr[tabindex]");
  const rows = [...document.querySelectorAll("tr[tabindex]")];
  if (key === "arrowdown" || key === "arrowup") {
    if (isTyping && event.target.name !== "wanted") return;
    const next = row ? rows.indexOf(row) + (key === "arrowdown" ? 1 : -1) : 0;
    rows.at(Math.min(Math.max(next, 0), rows.length - 1))?.focus();
    event.preventDefault();
  } else if (!isTyping && row && ACTIONS[key]) {
    run(key, shown().find((each) => each.token_id === row.id));
    event.preventDefault();
  } else if (!isTyping && key === "b") {
    document.querySelector("input[name=patient_id]")?.focus();
    event.preventDefault();
  } else if (!isTyping && key === "f") {
    document.querySelector("input[name=wanted]")?.focus();
    event.preventDefault();
  }
}

// ---- the picture

function draw() {
  const pool = slot();
  document.title = t("desk.title");
  render(
    html`<header>
        <h1>${t("desk.title")} <small>${named(department)}</small></h1>
        <label>${t("date")} <input type="date" .value=${date} @change=${(event) => goToDate(event.target.value)} /></label>
        ${languagePicker(draw)}
        <button @click=${signOut}>${t("sign-out")}</button>
      </header>
      ${staleNotice(health)}
      <main>
        ${!day ? html`<p class="empty">${t("loading")}</p>` : nothing}
        ${day && !pool ? html`<p class="empty">${t("desk.no-slots")}</p>` : nothing}
        ${pool ? work(pool) : nothing}
      </main>
      ${confirmation()}
      <dialog class="link" aria-label=${t("desk.link.for")}>
        <form method="dialog">
          <p>${t("desk.link.for")}</p>
          <img alt="QR" width="240" height="240" />
          <p><a target="_blank" rel="noopener"></a></p>
          <menu><button>${t("back")}</button></menu>
        </form>
      </dialog>`,
    document.body,
  );
}

function goToDate(value) {
  if (!value) return;
  query.set("date", value);
  location.search = `${query}`;
}

function choose(name) {
  chosen = name;
  tokens = [];
  draw();
  readTokens();
}

function work(pool) {
  return html`<nav class="pools" aria-label=${t("desk.slots")}>
      ${day.slots.map(
        (each) => html`<button aria-pressed=${each.slot === pool.slot} @click=${() => choose(each.slot)}>
          <b>${spanOf(each.slot)}</b>
          <span>${each.closed ? t("closed") : `${t("desk.seats")} ${each.taken}/${each.capacity}`}</span>
          <span>${t("desk.waiting")} ${each.waiting} · ${t("desk.here")} ${each.here}</span>
        </button>`,
      )}
    </nav>
    <div class="side">
      <section aria-labelledby="book">
        <h2 id="book">${t("desk.book")} <small>${spanOf(pool.slot)}</small></h2>
        <form class="book" @submit=${book}>
          <label>${t("desk.patient")}
            <input name="patient_id" required maxlength="64" autocomplete="off" spellcheck="false" ?disabled=${pool.closed} /></label>
          <label>${t("desk.class")}
            <select name="source" ?disabled=${pool.closed}>${CLASSES.map((each) => html`<option value=${each}>${t(`class.${each}`)}</option>`)}</select></label>
          <label>${t("doctor")}
            <select name="doctor_id" ?disabled=${pool.closed}>
              <option value="">${t("desk.any-doctor")}</option>
              ${sessions().map((each) => html`<option value=${each.doctor_id}>${each.name}</option>`)}
            </select></label>
          <button class="first" ?disabled=${pool.closed}>${t("desk.book")}</button>
        </form>
      </section>
      <section aria-labelledby="outcome">
        <h2 id="outcome">${t("desk.outcome")}</h2>
        <ol class="outcomes" role="log" aria-live="polite" aria-labelledby="outcome">
          ${outcomes.map((each) => html`<li class=${each.isBad ? "bad" : ""}>${each.text}</li>`)}
        </ol>
      </section>
      <section aria-labelledby="doctors">
        <h2 id="doctors">${t("desk.doctors")}</h2>
        <ul class="doctors">${repeat(sessions(), (each) => `${each.doctor_id} ${each.slot}`, seats)}</ul>
        <button class="bad" ?disabled=${pool.closed} @click=${close}>${t("desk.close")}</button>
      </section>
    </div>
    <section class="tokens" aria-labelledby="tokens">
      <div class="tools">
        <h2 id="tokens">${t("desk.tokens")} <small>${spanOf(pool.slot)}</small></h2>
        <label>${t("desk.find")} <input name="wanted" type="search" .value=${wanted} @input=${find} autocomplete="off" /></label>
        <label class="check"><input type="checkbox" .checked=${withEnded} @change=${toggleEnded} /> ${t("desk.ended")}</label>
      </div>
      ${table()}
      <p class="quiet keys">${t("desk.keys")}</p>
    </section>`;
}

function find(event) {
  wanted = event.target.value;
  draw();
}

function toggleEnded(event) {
  withEnded = event.target.checked;
  draw();
}

function seats(session) {
  return html`<li>
    <p><b><bdi>${session.name}</bdi></b> ${session.available ? nothing : html`<span class="away">${t("away")}</span>`}</p>
    <form @submit=${(event) => setSeats(event, session)}>
      <span>${session.taken} /</span>
      <input name="capacity" type="number" min="0" max="500" required value=${session.capacity} ?disabled=${session.closed}
        aria-label=${t("desk.set-seats", { doctor: session.name })} />
      <button ?disabled=${session.closed}>${t("desk.save")}</button>
    </form>
  </li>`;
}

function table() {
  const rows = shown();
  if (!rows.length) return html`<p class="empty">${t("desk.nobody")}</p>`;
  return html`<div class="scroll"><table>
    <thead>
      <tr>
        <th class="number">${t("token")}</th>
        <th>${t("desk.patient")}</th>
        <th>${t("desk.class")}</th>
        <th>${t("desk.status")}</th>
        <th>${t("doctor")}</th>
        <th>${t("desk.actions")}</th>
      </tr>
    </thead>
    <tbody>${repeat(rows, (each) => each.token_id, row)}</tbody>
  </table></div>`;
}

function row(token) {
  return html`<tr tabindex="0" id=${token.token_id} class=${token.status}>
    <td class="number"><b>${token.token_no}</b></td>
    <td class="patient">${token.patient_id}</td>
    <td class=${token.source}>${t(`class.${token.source}`)}</td>
    <td>${t(`status.${token.status}`)}${token.place ? ` ${token.place}` : ""}${token.status === "WAITLISTED" && token.checked_in_at ? ` · ${t("status.CHECKED_IN")}` : ""}</td>
    <td><bdi>${nameOf(token.doctor_id)}</bdi></td>
    <td><div class="actions">
      ${Object.entries(ACTIONS)
        .filter(([, action]) => action.fits(token))
        .map(([key, action]) => html`<button @click=${() => run(key, token)}>${t(action.name)}</button>`)}
      ${ENDED.has(token.status) ? nothing : html`<button @click=${() => showLink(token)}>${t("desk.link")}</button>`}
    </div></td>
  </tr>`;
}

await loadTexts();
if (takeToken()) {
  document.addEventListener("keydown", pressed);
  draw();
  listen(`/live/${facility}?${new URLSearchParams({ date, department })}`, (state, healthNow) => {
    health = healthNow;
    if (state && state !== day) {
      day = state;
      readFrom(state.last_id);
      readSoon();
    }
    draw();
  });
} else {
  render(signInView(), document.body);
}
