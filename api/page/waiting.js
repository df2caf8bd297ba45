// While a score is made, the result says so: how far the upload is, then that it is scored.
import { $, el, say } from "./dom.js";
import { percent, t } from "./words.js";

// Returns { sent(share), end() }: `sent` hears of the upload, `end` takes the words away.
export function startWaiting(cancel) {
  const words = el("p", { id: "waiting-words" }, t("sending"));
  const bar = el("progress", { max: 1, value: 0, "aria-label": t("sending.progress") });
  const button = el("button", { id: "stop", type: "button", onclick: cancel }, t("cancel"));
  $("waiting").replaceChildren(words, bar, button);
  $("waiting").hidden = false;
  $("answer").setAttribute("aria-busy", "true");
  $("empty").hidden = true;
  say(t("scoring"));
  return {
    sent(share) {
      if (share < 1) {
        bar.value = share;
        words.textContent = t("sending.share", { share: percent(share, 0) });
        return;
      }
      bar.removeAttribute("value"); // how long the score takes, nobody knows
      words.textContent = t("scoring");
    },
    end: endWaiting,
  };
}

export function endWaiting() {
  $("waiting").hidden = true;
  $("waiting").replaceChildren();
  $("answer").removeAttribute("aria-busy");
  $("empty").hidden = !$("result").hidden;
}
