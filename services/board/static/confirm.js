// "Are you sure?", without leaving the page and for the keyboard.

import { html, t } from "./board.js";

let answer = () => {};

/** Asks; gives whether it is to be done. */
export function confirm(question, doIt) {
  answer(false); // to the question before: its dialog has closed, but the page may be told of that only later
  const dialog = document.querySelector("dialog.sure");
  dialog.querySelector("p").textContent = question;
  dialog.querySelector("button[value=yes]").textContent = doIt;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    answer = resolve;
  });
}

/** Gives the dialog, for the end of a page. */
export function confirmation() {
  const closed = ({ target }) => target.open || answer(target.returnValue === "yes"); // open again: it asks anew
  return html`<dialog class="sure" aria-labelledby="sure" @close=${closed}>
    <form method="dialog">
      <p id="sure"></p>
      <menu>
        <button value="no">${t("keep")}</button>
        <button class="bad" value="yes"></button>
      </menu>
    </form>
  </dialog>`;
}
