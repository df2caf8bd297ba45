// How files reach the page: by the field, dropped anywhere, or pasted.
import { $ } from "./dom.js";

// `choose(files)` takes them; it is called with none where something else than a file was dropped.
export function startIntake(choose) {
  $("file").addEventListener("change", (event) => {
    const files = [...event.target.files];
    if (files.length) choose(files);
    event.target.value = ""; // so that the same file can be chosen again
  });
  // A file dropped beside the field must not replace the page.
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) $("drop").classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    choose([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    // Pasted words are somebody's slip: what is on the page stays as it is.
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    choose(files);
  });
}
