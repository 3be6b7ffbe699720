// Where to go from here: the pages of a hospital's departments.

import {
  address,
  claims,
  departmentsOf,
  goTo,
  html,
  languagePicker,
  loadTexts,
  named,
  query,
  render,
  signInView,
  signOut,
  t,
  takeToken,
} from "./board.js";

let departments = null;
let failure = null;

function choice(facility, department) {
  const here = { facility, department };
  return html`<li>
    <h2>${named(department)}</h2>
    <p class="links">
      ${["hall", "kiosk", "desk", "room"].map(
        (page) => html`<a class="button" href=${address(`/${page}`, here)}>${t(page === "hall" || page === "kiosk" ? `start.${page}` : `${page}.title`)}</a>`,
      )}
    </p>
  </li>`;
}

function draw() {
  const facility = query.get("facility");
  const all = new URLSearchParams({ facility: facility ?? "" });
  for (const each of departments ?? []) all.append("department", each);
  const choose = (event) => {
    event.preventDefault();
    goTo({ facility: new FormData(event.target).get("facility").trim() });
  };
  document.title = t("start.title");
  render(
    html`<header>
        <h1>${t("start.title")} <small>${facility ? named(facility) : ""}</small></h1>
        ${languagePicker(draw)}
        <button @click=${signOut}>${t("sign-out")}</button>
      </header>
      <main class="narrow">
        <form @submit=${choose}>
          <label>${t("start.facility")} <input name="facility" .value=${facility ?? ""} required pattern="[a-z0-9\\-]{1,32}" /></label>
          <button class="first">${t("start.go")}</button>
        </form>
        ${failure ? html`<p role="alert">${failure.text}</p>` : ""}
        ${departments?.length === 0 ? html`<p class="empty">${t("no-departments")}</p>` : ""}
        ${departments?.length
          ? html`<p class="links">
                <a class="button first" href="/hall?${all}">${t("start.hall-of-all")}</a>
                ${["admin", "auditor"].includes(claims()?.role)
                  ? html`<a class="button" href=${address("/operations", { facility })}>${t("ops.title")}</a>`
                  : ""}
              </p>
              <ul class="choices">${departments.map((each) => choice(facility, each))}</ul>`
          : ""}
      </main>`,
    document.body,
  );
}

await loadTexts();
if (takeToken()) {
  draw();
  if (query.has("facility")) {
    await departmentsOf(query.get("facility")).then(
      (found) => (departments = found),
      (refusal) => (failure = refusal),
    );
    draw();
  }
} else {
  render(signInView(), document.body);
}
