// The page's beginning: words, theme, tabs, then each tab's own module.
import { $ } from "./dom.js";
import { drawAbout } from "./about.js";
import { offer } from "./chosen.js";
import { redrawAnalyze, startAnalyze } from "./analyze.js";
import { setToken } from "./client.js";
import { drawModels, drawPictures, loadInfo, onModel } from "./models.js";
import { openPerformance, translatePerformance } from "./performance.js";
import { startTheme } from "./theme.js";
import { onLanguage, startWords, t } from "./words.js";

const TABS = ["analyze", "performance", "about"];

function open(name) {
  for (const tab of TABS) {
    const here = tab === name;
    $(`tab-${tab}`).setAttribute("aria-selected", String(here));
    $(`tab-${tab}`).tabIndex = here ? 0 : -1;
    $(tab).hidden = !here;
  }
  if (name === "performance") openPerformance();
}

const asked = () => TABS.find((name) => location.hash === `#${name}`) ?? TABS[0];

function startTabs() {
  const go = (name) => {
    // A step of the history: Back leads to the tab before, and not out of the page.
    if (name !== asked()) history.pushState(null, "", `#${name}`);
    open(name);
  };
  for (const [index, name] of TABS.entries()) {
    $(`tab-${name}`).addEventListener("click", () => go(name));
    $(`tab-${name}`).addEventListener("keydown", (event) => {
      const steps = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const next = TABS.at(steps[event.key] % TABS.length);
      go(next);
      $(`tab-${next}`).focus();
    });
  }
  window.addEventListener("popstate", () => open(asked()));
  open(asked());
}

async function meet() {
  try {
    await loadInfo();
  } catch {
    // Without it the page still scores, by the default model.
  }
  drawAbout();
  offer(); // a photograph may have been chosen before
  if (!$("result").hidden) redrawAnalyze(); // or answered, without what /info says of the model
}

function startAccess() {
  $("access").addEventListener("submit", async (event) => {
    event.preventDefault();
    const sendable = setToken($("token").value);
    $("token").value = "";
    $("access-error").textContent = sendable ? "" : t("access.refused");
    if (!sendable) return;
    $("access").hidden = true;
    $("error").textContent = "";
    await meet(); // a wrong token shows the form again
    if (!$("performance").hidden) openPerformance();
  });
}

startWords();
startTheme();
startAnalyze();
startTabs();
startAccess();
drawAbout();
meet();
onModel(() => {
  drawPictures();
  if (!$("performance").hidden) openPerformance();
});
onLanguage(() => {
  drawModels();
  redrawAnalyze();
  translatePerformance();
  drawAbout();
});
