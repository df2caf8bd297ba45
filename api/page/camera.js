// The camera: capture, look, retake or use. The picture goes nowhere before Predict is pressed.
import { $ } from "./dom.js";
import { t } from "./words.js";

const DENIALS = {
  NotAllowedError: "camera.denied",
  SecurityError: "camera.denied",
  NotFoundError: "camera.missing",
  OverconstrainedError: "camera.missing",
  NotReadableError: "camera.busy",
};
let stream = null;
let starts = 0; // the number of the latest start: the browser may answer an older one later
let message = ""; // its key, so that a change of language can tell it anew

function tell(key) {
  message = key;
  $("booth-message").textContent = key ? t(key) : "";
}

export const retell = () => tell(message);

function stop() {
  starts += 1;
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  $("video").srcObject = null;
}

// Which of the two is on the stage: the moving picture or the taken one.
function stage({ taken, live }) {
  $("video").hidden = taken || !live;
  $("shot").hidden = !taken;
  $("capture").hidden = taken || !live;
  $("use").hidden = !taken;
  $("retake").hidden = !taken;
}

async function start() {
  stop();
  const mine = starts;
  tell("camera.asking");
  stage({ taken: false, live: false });
  if (!navigator.mediaDevices?.getUserMedia) return tell("camera.insecure");
  try {
    const wanted = { video: { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1440 } } };
    const found = await navigator.mediaDevices.getUserMedia(wanted);
    if (mine !== starts) {
      // Closed while the browser was asking, and perhaps opened again.
      for (const track of found.getTracks()) track.stop();
      return undefined;
    }
    stream = found;
    $("video").srcObject = stream;
    await $("video").play();
  } catch (error) {
    if (mine !== starts) return undefined;
    stop();
    return tell(DENIALS[error.name] ?? "camera.failed");
  }
  tell("camera.hint");
  stage({ taken: false, live: true });
  $("capture").focus();
  return undefined;
}

function capture() {
  const [video, shot] = [$("video"), $("shot")];
  shot.width = video.videoWidth;
  shot.height = video.videoHeight;
  shot.getContext("2d").drawImage(video, 0, 0);
  stage({ taken: true, live: true });
  $("use").focus();
}

function use(choose) {
  $("shot").toBlob(
    (blob) => {
      $("booth").close();
      choose([new File([blob], "camera.jpg", { type: "image/jpeg" })]);
      $("predict").focus();
    },
    "image/jpeg",
    0.95,
  );
}

// `choose(files)` takes the picture.
export function startCamera(choose) {
  $("camera").addEventListener("click", () => {
    $("booth").showModal();
    start();
  });
  $("capture").addEventListener("click", capture);
  $("retake").addEventListener("click", () => {
    stage({ taken: false, live: true });
    $("capture").focus();
  });
  $("use").addEventListener("click", () => use(choose));
  $("leave").addEventListener("click", () => $("booth").close());
  $("booth").addEventListener("close", stop);
}
