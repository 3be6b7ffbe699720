// The kiosk: a token for who walks in, and "I am here" for who has one. For fingers, and for who reads slowly.

import {
  ask,
  departmentsOf,
  estimateOf,
  html,
  languagePicker,
  listen,
  loadTexts,
  named,
  nothing,
  query,
  render,
  signInView,
  spanOf,
  staleNotice,
  t,
  takeToken,
  today,
} from "./board.js";

const BACK_AFTER_MS = 45_000; // the next patient must not see the last one's number
const MAX_DIGITS = 6;
const facility = query.get("facility");
let step = "welcome";
let department = query.get("department");
let departments = department ? [department] : [];
let day = null;
let health = { stale: false, heardAt: null };
let slot = null;
let typed = "";
let ticket = null;
let link = null;
let said = "";
let purpose = null;
let isBusy = false;
let stop = () => {};
let back = null;

function follow() {
  stop();
  day = null;
  stop = listen(`/live/${facility}?${new URLSearchParams({ date: today(), department })}`, (state, healthNow) => {
    health = healthNow;
    day = state ?? day;
    draw();
  });
}

function go(next) {
  step = next;
  said = "";
  draw();
  document.querySelector("h2")?.focus();
}

function restart() {
  [slot, typed, ticket, link, purpose] = [null, "", null, null, null];
  if (!query.has("department")) department = departments.length === 1 ? departments[0] : null;
  go("welcome");
}

function begin(wanted) {
  purpose = wanted;
  if (!department) go("where");
  else {
    follow();
    go(wanted);
  }
}

function chooseDepartment(each) {
  department = each;
  follow();
  go(purpose);
}

async function act(what) {
  if (isBusy) return;
  isBusy = true;
  said = "";
  draw();
  try {
    await what();
  } catch (refusal) {
    said = `${refusal.text ?? refusal.message} ${t("kiosk.ask-desk")}`;
  }
  isBusy = false;
  draw();
}

function take(event) {
  event.preventDefault();
  const number = new FormData(event.target).get("patient").trim();
  const patient = number || `walk-in-${crypto.randomUUID()}`;
  act(async () => {
    const where = { facility_id: facility, department_id: department, date: today(), slot };
    ticket = await ask("POST", "/tokens", { ...where, patient_id: patient, source: "WALK_IN" });
    [link, ticket.story] = await Promise.all([
      ask("GET", `/links/${ticket.token_id}`),
      ask("GET", `/tokens/${ticket.token_id}`).catch(() => null),
    ]);
    go("ticket");
  });
}

function checkIn() {
  act(async () => {
    const number = `${facility}.${department}.${today().replaceAll("-", "")}.${Number(typed)}`;
    ticket = await ask("POST", `/tokens/${number}/check-in`);
    go("here");
  });
}

const press = (digit) => {
  typed = (typed + digit).slice(0, MAX_DIGITS);
  draw();
};

// ---- steps

const STEPS = {
  welcome: () => html`<h2 tabindex="-1">${t("kiosk.welcome")}</h2>
    <p class="large">
      <button class="first" @click=${() => begin("when")}>${t("kiosk.take")}</button>
      <button @click=${() => begin("number")}>${t("kiosk.have")}</button>
    </p>`,

  where: () => html`<h2 tabindex="-1">${t("kiosk.which")}</h2>
    <p class="large">${departments.map((each) => html`<button @click=${() => chooseDepartment(each)}>${named(each)}</button>`)}</p>`,

  when: () => {
    const open = (day?.slots ?? []).filter((each) => !each.closed && each.capacity > 0);
    return html`<h2 tabindex="-1">${t("kiosk.when")}</h2>
      ${day && !open.length ? html`<p class="empty">${t("kiosk.no-slots")}</p>` : nothing}
      <p class="large">
        ${open.map(
          (each) => html`<button @click=${() => {
            slot = each.slot;
            go("who");
          }}>
            <b>${spanOf(each.slot)}</b>
            <span>${each.taken < each.capacity && !each.waiting
              ? t("kiosk.free", { free: each.capacity - each.taken })
              : t("kiosk.full", { waiting: each.waiting })}</span>
          </button>`,
        )}
      </p>`;
  },

  who: () => html`<h2 tabindex="-1">${named(department)} · ${spanOf(slot)}</h2>
    <form @submit=${take}>
      <label>${t("kiosk.number")} <input name="patient" maxlength="64" autocomplete="off" spellcheck="false" /></label>
      <button class="first" ?disabled=${isBusy}>${t("kiosk.get")}</button>
    </form>`,

  ticket: () => {
    const doctor = day?.doctors.find((each) => each.doctor_id === ticket.doctor_id);
    const estimate = ticket.story?.estimate;
    return html`<section class="ticket">
        <h2 tabindex="-1">${t("kiosk.yours")}</h2>
        <p class="big">${ticket.token_no}</p>
        <p>${ticket.status === "WAITLISTED"
          ? t("kiosk.wait", { position: ticket.position })
          : t("kiosk.seat", { doctor: doctor?.name ?? "" })}
          ${doctor?.room ? t("room", { room: doctor.room }) : nothing}</p>
        <p>${named(department)} · ${spanOf(ticket.slot)}</p>
        ${estimate ? html`<p class="estimate">${estimateOf(estimate)}</p>` : nothing}
        <img src=${link.qr} alt=${t("kiosk.scan")} />
        <p class="quiet">${t("kiosk.scan")}</p>
      </section>
      <p class="large">
        <button class="first" @click=${() => print()}>${t("kiosk.print")}</button>
        <button @click=${restart}>${t("kiosk.done")}</button>
      </p>`;
  },

  number: () => html`<h2 tabindex="-1">${t("kiosk.type")}</h2>
    <p class="typed" role="status" aria-label=${t("token")}>${typed || " "}</p>
    <p class="keypad" dir="ltr">
      ${["1", "2", "3", "4", "5", "6", "7", "8", "9"].map((each) => html`<button @click=${() => press(each)}>${each}</button>`)}
      <button aria-label=${t("kiosk.delete")} @click=${() => {
        typed = typed.slice(0, -1);
        draw();
      }}>⌫</button>
      <button @click=${() => press("0")}>0</button>
    </p>
    <p class="large"><button class="first" ?disabled=${isBusy || !Number(typed)} @click=${checkIn}>${t("kiosk.check-in")}</button></p>`,

  here: () => html`<section class="ticket">
      <h2 tabindex="-1">${t("kiosk.yours")}</h2>
      <p class="big">${ticket.token_no}</p>
      <p>${t("kiosk.here")}</p>
    </section>
    <p class="large"><button class="first" @click=${restart}>${t("kiosk.done")}</button></p>`,
};

function draw() {
  clearTimeout(back);
  if (step !== "welcome") back = setTimeout(restart, BACK_AFTER_MS);
  document.title = t("kiosk.welcome");
  render(
    html`<header>
        <h1>${named(facility)} <small>${department ? named(department) : ""}</small></h1>
        ${languagePicker(draw)}
      </header>
      ${step === "welcome" ? nothing : staleNotice(health)}
      <main class="narrow">
        ${STEPS[step]()}
        ${said ? html`<p class="outcome" role="alert">${said}</p>` : nothing}
        ${["where", "when", "who", "number"].includes(step) ? html`<p><button @click=${restart}>${t("back")}</button></p>` : nothing}
      </main>`,
    document.body,
  );
}

function typedOnKeys(event) {
  if (step !== "number" || event.ctrlKey || event.altKey || event.metaKey) return;
  if (/^[0-9]$/.test(event.key)) press(event.key);
  else if (event.key === "Backspace") {
    typed = typed.slice(0, -1);
    draw();
  }
}

await loadTexts();
if (takeToken()) {
  document.addEventListener("keydown", typedOnKeys);
  restart();
  if (!departments.length) {
    await departmentsOf(facility).then((found) => (departments = found), (refusal) => (said = refusal.text));
    restart();
  }
} else {
  render(signInView(), document.body);
}
