// How the engine does: partitions, allocators, the last audit.

import {
  Refusal,
  ask,
  clock,
  currentLanguage,
  html,
  languagePicker,
  loadTexts,
  localeOf,
  nothing,
  render,
  signInView,
  signOut,
  staleNotice,
  t,
  takeToken,
} from "./board.js";

const EVERY_MS = 2_000;
let state = null;
let heardAt = null;
let refusal = null;

async function look() {
  try {
    state = await ask("GET", "/operations");
    [heardAt, refusal] = [Date.now(), null];
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    refusal = error;
  }
  draw();
  setTimeout(look, EVERY_MS);
}

const number = (value) => value.toLocaleString(localeOf(currentLanguage()));

function partitions() {
  return html`<section aria-labelledby="partitions">
    <h2 id="partitions">${t("ops.owns")}</h2>
    <div class="scroll" tabindex="0" role="group" aria-labelledby="partitions"><table>
      <thead>
        <tr>
          ${["partition", "commands", "lag", "events", "dead-letters"].map((each) => html`<th class="number">${t(`ops.${each}`)}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${state.partitions.map(
          (each) => html`<tr>
            <td class="number">${each.partition}</td>
            <td class="number">${number(each.commands)}</td>
            <td class="number">${number(each.undecided)}</td>
            <td class="number">${number(each.events)}</td>
            <td class="number ${each.dead_letters ? "bad" : ""}">${number(each.dead_letters)}</td>
          </tr>`,
        )}
      </tbody>
    </table></div>
  </section>`;
}

function allocators() {
  return html`<section>
    <h2>${t("ops.allocators")}</h2>
    ${state.allocators.length
      ? html`<ul>${state.allocators.map((each) => html`<li>${each.member}: <b>${each.partitions.join(", ")}</b></li>`)}</ul>`
      : html`<p class="bad">${t("ops.nobody")}</p>`}
  </section>`;
}

const verdict = (holds) => t(holds === null ? "ops.unchecked" : holds ? "ops.holds" : "ops.broken");

function audit() {
  const last = state.audit;
  return html`<section>
    <h2>${t("ops.verify")} ${last ? html`<small>${new Date(last.at).toLocaleDateString(localeOf(currentLanguage()))} ${clock(last.at)}</small>` : nothing}</h2>
    ${last
      ? html`<ul>
          ${Object.entries(last.invariants).map(
            ([name, holds]) => html`<li class=${holds === false ? "bad" : ""}>${name}: <b>${verdict(holds)}</b></li>`,
          )}
        </ul>`
      : html`<p class="quiet">${t("ops.never")}</p>`}
  </section>`;
}

function draw() {
  document.title = t("ops.title");
  render(
    html`<header>
        <h1>${t("ops.title")}</h1>
        ${languagePicker(draw)}
        <button @click=${signOut}>${t("sign-out")}</button>
      </header>
      ${refusal && heardAt ? staleNotice({ stale: true, heardAt }) : nothing}
      <main>
        ${refusal && !state ? html`<p class="empty" role="alert">${refusal.text}</p>` : nothing}
        ${!state && !refusal ? html`<p class="empty">${t("loading")}</p>` : nothing}
        ${state ? html`${partitions()} ${allocators()} ${audit()}` : nothing}
      </main>`,
    document.body,
  );
}

await loadTexts();
if (takeToken()) {
  draw();
  look();
} else {
  render(signInView(), document.body);
}
