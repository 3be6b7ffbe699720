// The hall: who is called where, in large, in the languages of those who wait.

import {
  LANGUAGES,
  clock,
  html,
  listen,
  loadTexts,
  localeOf,
  named,
  nothing,
  query,
  render,
  repeat,
  setLanguage,
  staleNotice,
  t,
  today,
} from "./board.js";

const TURN_MS = 1_000 * Number(query.get("turn_s") ?? 10);
const CALLED_MS = 20_000;
const LONG_NAME = 30; // letters: smaller, it is not cut off
const facility = query.get("facility");
const departments = query.getAll("department");
const languages = (query.get("languages") ?? LANGUAGES.join(",")).split(",").filter((each) => LANGUAGES.includes(each));
const days = new Map(); // by department
const calls = new Map(); // by department and doctor: the number called, and since when
let health = { stale: false, heardAt: null };
let page = 0;
let turn = 0;
let sound = localStorage.getItem("sound") === "on";

function doctorsOf(day) {
  return day.doctors
    .map((doctor) => {
      const open = doctor.sessions.filter((each) => !each.closed || each.now !== null || each.here > 0);
      const called = open.filter((each) => each.now !== null).at(-1);
      return {
        ...doctor,
        key: `${day.department_id}/${doctor.doctor_id}`,
        department: day.department_id,
        now: called?.now ?? null,
        next: open.flatMap((each) => each.next).slice(0, 3),
        here: open.reduce((sum, each) => sum + each.here, 0),
        away: open.length > 0 && open.every((each) => !each.available),
        works: open.length > 0,
      };
    })
    .filter((doctor) => doctor.works);
}

function notice(day) {
  for (const doctor of doctorsOf(day)) {
    const before = calls.get(doctor.key);
    if (before?.number === doctor.now) continue;
    // What was called before this screen looked is no news.
    const isNews = days.has(day.department_id) && doctor.now !== null;
    calls.set(doctor.key, { number: doctor.now, at: isNews ? Date.now() : 0 });
    if (isNews) announce(doctor);
  }
}

// ---- sound: a chime, then the call in each language that this machine can speak

let audio = null;

function chime() {
  audio ??= new AudioContext();
  audio.resume();
  [880, 660].forEach((hertz, place) => {
    const start = audio.currentTime + place * 0.35;
    const tone = new OscillatorNode(audio, { frequency: hertz });
    const volume = new GainNode(audio, { gain: 0 });
    volume.gain.setValueAtTime(0.3, start);
    volume.gain.exponentialRampToValueAtTime(0.001, start + 0.9);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 1);
  });
}

function announce({ now, name, room }) {
  if (!sound) return;
  chime();
  const voices = speechSynthesis.getVoices();
  for (const each of languages) {
    const voice = voices.find((known) => known.lang.startsWith(each));
    if (!voice) continue;
    const said = t(room ? "hall.call-room" : "hall.call", { number: now, doctor: name, room }, each);
    const speech = new SpeechSynthesisUtterance(said);
    speech.voice = voice;
    speech.lang = localeOf(each);
    speech.rate = 0.9;
    speechSynthesis.speak(speech);
  }
}

function switchSound() {
  sound = !sound;
  localStorage.setItem("sound", sound ? "on" : "off");
  if (sound) chime();
  else speechSynthesis.cancel();
  draw();
}

// ---- the picture

function row(doctor) {
  const call = calls.get(doctor.key);
  const isNew = call && Date.now() - call.at < CALLED_MS;
  const classes = [isNew ? "called" : "", doctor.name.length > LONG_NAME ? "long" : ""];
  return html`<li class=${classes.filter(Boolean).join(" ")}>
    <div class="who">
      <h2><bdi>${doctor.name}</bdi></h2>
      <p>
        ${doctor.room ? html`<strong>${t("room", { room: doctor.room })}</strong>` : nothing}
        ${departments.length > 1 ? html`<span>${named(doctor.department)}</span>` : nothing}
        ${doctor.away ? html`<span class="away">${t("away")}</span>` : nothing}
      </p>
    </div>
    <p class="next">
      <span>${t("hall.next")}</span>
      <b>${doctor.next.length ? doctor.next.join(" · ") : "–"}</b>
    </p>
    <p class="now">
      <span>${t("hall.now")}</span>
      <b>${doctor.now ?? "–"}</b>
    </p>
  </li>`;
}

function fitting() {
  const list = document.querySelector(".hall ul");
  if (!list || innerWidth < 700) return Infinity;
  const style = getComputedStyle(list);
  const height = parseFloat(style.gridAutoRows) + parseFloat(style.rowGap);
  const columns = style.gridTemplateColumns.split(" ").length;
  return Math.max(1, Math.floor((list.clientHeight + parseFloat(style.rowGap)) / height)) * columns;
}

function draw() {
  const doctors = departments.flatMap((each) => (days.has(each) ? doctorsOf(days.get(each)) : []));
  const fits = fitting();
  const pages = Math.max(1, Math.ceil(doctors.length / fits));
  page %= pages;
  const shown = fits === Infinity ? doctors : doctors.slice(page * fits, (page + 1) * fits);
  document.title = t("hall.title");
  document.body.classList.toggle("many", doctors.length > 6);
  render(
    html`<header>
        <h1>${t("hall.title")} <small>${departments.length === 1 ? named(departments[0]) : named(facility ?? "")}</small></h1>
        <button aria-pressed=${sound} @click=${switchSound}>${t(sound ? "hall.sound-on" : "hall.sound-off")}</button>
        ${pages > 1 ? html`<p class="page">${page + 1}/${pages}</p>` : nothing}
        <time>${clock(Date.now())}</time>
      </header>
      ${staleNotice(health)}
      <main>
        ${doctors.length
          ? html`<ul>${repeat(shown, (each) => each.key, row)}</ul>`
          : html`<p class="empty">${t(days.size ? "hall.empty" : "loading")}</p>`}
      </main>`,
    document.body,
  );
}

function take(state, now) {
  health = now;
  if (state) {
    notice(state);
    days.set(state.department_id, state);
  }
  draw();
  if (fitting() !== Infinity) draw(); // only what was drawn tells how much there is room for
}

function start() {
  let date = query.get("date") ?? today();
  const follow = () => {
    const asked = new URLSearchParams({ date });
    for (const each of departments) asked.append("department", each);
    return listen(`/live/${facility}?${asked}`, take);
  };
  let stop = follow();
  setInterval(() => {
    turn += 1;
    page += 1;
    if (languages.length) setLanguage(languages[turn % languages.length]);
    draw();
    if (!query.has("date") && date !== today()) {
      date = today(); // midnight: another day
      stop();
      days.clear();
      stop = follow();
    }
  }, TURN_MS);
  setInterval(draw, 1_000);
}

await loadTexts();
if (languages.length) setLanguage(languages[0]);
draw();
if (facility && departments.length) start();
else location.replace("/");
