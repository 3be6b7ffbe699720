// What every page shares: words in the reader's language, what the board tells, what the gateway is asked.

import { html, nothing, render } from "./lit-html/lit-html.js";

export { html, nothing, render };
export { repeat } from "./lit-html/directives/repeat.js";

export const LANGUAGES = ["en", "hi", "ur"];
const RIGHT_TO_LEFT = new Set(["ur"]);
const LOCALES = { en: "en-IN", hi: "hi-IN", ur: "ur-PK" };
const STALE_AFTER_MS = 25_000; // the board says that it lives every 10 s
const AGAIN_AFTER_MS = 2_000;

export const query = new URLSearchParams(location.search);

// ---- words

const texts = {};
let language = "en";

export async function loadTexts() {
  await Promise.all(
    LANGUAGES.map(async (each) => {
      texts[each] = await (await fetch(`/texts/${each}.json`)).json();
    }),
  );
  const wanted = query.get("lang") ?? localStorage.getItem("language") ?? navigator.language.slice(0, 2);
  setLanguage(LANGUAGES.includes(wanted) ? wanted : "en");
}

export function setLanguage(wanted) {
  language = wanted;
  document.documentElement.lang = wanted;
  document.documentElement.dir = RIGHT_TO_LEFT.has(wanted) ? "rtl" : "ltr";
}

export const currentLanguage = () => language;
export const localeOf = (each) => LOCALES[each];

/** Gives a text with its {places} filled; what there is no text for stays as it is called. */
export function t(key, values = {}, of = language) {
  const text = texts[of]?.[key] ?? key;
  // Among letters from right to left, names and times keep their own direction.
  const [before, after] = RIGHT_TO_LEFT.has(of) ? ["\u2068", "\u2069"] : ["", ""];
  return text.replaceAll(/\{(\w+)\}/g, (_, name) => `${before}${values[name] ?? ""}${after}`);
}

/** Gives a slot as it is read, also among letters from right to left. */
export const spanOf = (slot) => html`<bdi dir="ltr">${slot}</bdi>`;

export const has = (key) => key in texts[language];

/** Gives a time of day; among letters from right to left, "am" stays behind it. */
export function clock(moment) {
  const time = new Date(moment).toLocaleTimeString(LOCALES[language], { hour: "2-digit", minute: "2-digit" });
  return RIGHT_TO_LEFT.has(language) ? `\u2066${time}\u2069` : time;
}

/** Says when somebody may be called; where both times are the same minute, it is said once. */
export function estimateOf({ p50, p80 }) {
  const [from, to] = [clock(p50), clock(p80)];
  return t(from === to ? "estimate.minute" : "estimate", { from, to });
}

/** Gives an id as a name: `cardiology` is `Cardiology`. */
export const named = (id) => id.replaceAll("-", " ").replace(/^./, (letter) => letter.toUpperCase());

export const today = () => {
  const now = new Date();
  return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
};

export function languagePicker(changed) {
  const pick = (event) => {
    localStorage.setItem("language", event.target.value);
    setLanguage(event.target.value);
    changed();
  };
  return html`<label class="language">
    <span class="hidden">${t("language")}</span>
    <select @change=${pick}>
      ${LANGUAGES.map(
        (each) => html`<option value=${each} lang=${each} ?selected=${each === language}>${t("name", {}, each)}</option>`,
      )}
    </select>
  </label>`;
}

// ---- what the board tells

/**
 * Listens until the page goes, whatever happens to the connection.
 *
 * @param {string} address of a stream of states.
 * @param {(state: object | null, health: {stale: boolean, heardAt: number | null}) => void} show
 *   is given the newest state each time something changes, also that it is old.
 * @returns {() => void} what ends it.
 */
export function listen(address, show) {
  let state = null;
  let heardAt = null;
  let quietSince = 0; // it was heard, or asked anew
  let source = null;
  let broken = false;
  let wasStale = false;
  let timer = null;

  // A clock that was set back must not hide for hours that nothing comes: rather it asks once too often.
  const isSilent = () => Math.abs(Date.now() - quietSince) > STALE_AFTER_MS;
  const health = () => ({ stale: broken || isSilent() || state?.current === false, heardAt });
  const tell = () => {
    const now = health();
    wasStale = now.stale;
    show(state, now);
  };
  const heard = () => {
    heardAt = quietSince = Date.now();
    broken = false;
  };
  const open = () => {
    quietSince = Date.now();
    source = new EventSource(address);
    source.onopen = () => {
      heard();
      tell();
    };
    source.onmessage = (event) => {
      heard();
      state = JSON.parse(event.data);
      tell();
    };
    source.addEventListener("alive", heard);
    source.onerror = () => {
      broken = true;
      tell();
      // The browser comes again by itself where the connection broke, not where it was refused.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN_AFTER_MS);
    };
  };
  const watch = setInterval(() => {
    if (health().stale !== wasStale) tell();
    // A connection that nobody ended and nothing comes through: a network that changed.
    if (isSilent() && source.readyState !== EventSource.CLOSED) {
      source.close();
      broken = true;
      open();
    }
  }, 1_000);
  open();
  return () => {
    clearInterval(watch);
    clearTimeout(timer);
    source.close();
  };
}

export function staleNotice({ stale, heardAt }) {
  if (!stale) return nothing;
  return html`<p class="stale" role="status">
    ${heardAt === null ? t("offline") : t("stale", { time: clock(heardAt) })}
  </p>`;
}

// ---- what the gateway is asked, in the name of who signed in

const KEPT = "opd-token";

/** Takes a token from the address, where no server and no log sees it, and out of it. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEPT, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return token();
}

export const token = () => sessionStorage.getItem(KEPT);

/** Gives what the token says of its holder; the gateway alone judges whether it is so. */
export function claims() {
  try {
    const body = token().split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(body), (each) => each.codePointAt(0))));
  } catch {
    return null;
  }
}

export function signOut() {
  sessionStorage.removeItem(KEPT);
  location.reload();
}

export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.title ?? `HTTP ${status}`);
    this.status = status;
    this.reason = problem.reason;
  }

  /** Says it in the reader's language, where there are words for it. */
  get text() {
    const key = this.reason ? `reason.${this.reason}` : `http.${this.status}`;
    return has(key) ? t(key) : this.message;
  }
}

let position = null; // of one's own last write: what is read afterwards must show it

/** Asks the gateway; a write is sent again with its key until its outcome is known. */
export async function ask(method, path, body) {
  // A page that goes after signing out still hears of changes: nobody's name is none to ask in.
  if (!token()) throw new Refusal(401, {});
  const headers = { Authorization: `Bearer ${token()}` };
  if (method === "GET") {
    if (position) headers["OPD-Position"] = position;
  } else {
    headers["Idempotency-Key"] = crypto.randomUUID();
    headers["Content-Type"] = "application/json";
  }
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(path.startsWith("/links") ? path : `/api${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    }).catch(() => null);
    const again = answer === null || answer.status === 202 || answer.status === 412 || answer.status === 503;
    if (again && tries < 4) {
      await new Promise((resolve) => setTimeout(resolve, 500 * tries));
      continue;
    }
    if (answer === null) throw new Refusal(503, {});
    if (method !== "GET") position = answer.headers.get("OPD-Position") ?? position;
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok || answer.status === 202) throw new Refusal(answer.status === 202 ? 503 : answer.status, said);
    return said;
  }
}

/** Makes reads show an event that the board told of. */
export function readFrom(eventId) {
  position = eventId ?? position;
}

export const address = (base, values) => `${base}?${new URLSearchParams(values)}`;

export function signInView() {
  const enter = (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEPT, new FormData(event.target).get("token").trim());
    location.reload();
  };
  return html`<main class="narrow">
    <h1>${t("sign-in")}</h1>
    <form @submit=${enter}>
      <label>${t("sign-in.token")} <input name="token" type="password" required autocomplete="off" autofocus /></label>
      <button class="first">${t("sign-in")}</button>
    </form>
    <p class="quiet">${t("sign-in.hint")}</p>
  </main>`;
}

/** Lets somebody choose where they work; gives it from the address if it stands there. */
export async function departmentsOf(facility) {
  return (await ask("GET", address("/departments", { facility_id: facility }))).departments.map(
    (each) => each.department_id,
  );
}

export function goTo(values) {
  for (const [name, value] of Object.entries(values)) query.set(name, value);
  location.search = `${query}`;
}
