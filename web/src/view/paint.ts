// Schedules all painting: in animation frames, never while the page is hidden.

// The server sends at most ten frames per second: painting as rarely would fall behind them.
const MIN_FRAME_GAP_MS = 30;

type Painter = () => void;

const pending = new Set<Painter>();
const pendingBefore = new Set<Painter>();
const afterPaint = new Set<Painter>();
let lastPaintMs = -MIN_FRAME_GAP_MS;
let isScheduled = false;

/** Call a painter in the next animation frame, once even if it is scheduled again. */
export function schedulePaint(painter: Painter): void {
  pending.add(painter);
  requestRound();
}

/** Call a painter before the next frame: one that requests an animation frame itself then draws in the same. */
export function scheduleBeforePaint(painter: Painter): void {
  pendingBefore.add(painter);
  requestRound();
}

/** Call a listener after each round of painting. */
export function onPainted(listener: Painter): void {
  afterPaint.add(listener);
}

function requestRound(): void {
  if (isScheduled || document.hidden) return;
  isScheduled = true;
  const wait = MIN_FRAME_GAP_MS - (performance.now() - lastPaintMs);
  if (wait > 3) setTimeout(startRound, wait);
  else startRound();
}

function startRound(): void {
  callAll(pendingBefore);
  requestAnimationFrame(runRound);
}

function runRound(): void {
  isScheduled = false;
  lastPaintMs = performance.now();
  callAll(pending);
  callAll(afterPaint);
}

function callAll(painters: Set<Painter>): void {
  const round = [...painters];
  if (painters !== afterPaint) painters.clear();
  for (const painter of round) {
    try {
      painter();
    } catch (error) {
      reportError(error); // an error in one part of the page must not stop the others
    }
  }
}

document.addEventListener("visibilitychange", () => {
  if (pending.size || pendingBefore.size) requestRound();
});

/** A function that schedules a painter, at most once in `gapMs`. */
export function throttled(gapMs: number, painter: Painter, enqueue = schedulePaint): Painter {
  let then = -Infinity;
  let timer = 0;
  return () => {
    if (timer) return;
    timer = window.setTimeout(() => {
      timer = 0;
      then = performance.now();
      enqueue(painter);
    }, Math.max(0, then + gapMs - performance.now()));
  };
}
