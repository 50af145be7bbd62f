import { palette, theme } from "../data/preferences.ts";
import { Signal } from "../data/signal.ts";

const COLOR_NAMES = ["bg", "panel", "raised", "line", "text", "dim", "accent", "up", "down", "flat", "info", "warning", "critical"] as const;

export type Colors = Record<(typeof COLOR_NAMES)[number], string>;

const light = matchMedia("(prefers-color-scheme: light)");

/** The colors of app.css, for canvases. */
export const colors = new Signal<Colors>({} as Colors);

function applyTheme(): void {
  const root = document.documentElement;
  root.dataset.theme = theme.value === "system" ? (light.matches ? "light" : "dark") : theme.value;
  root.dataset.palette = palette.value;
  const style = getComputedStyle(root);
  colors.set(Object.fromEntries(COLOR_NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Colors);
}

export function startTheme(): void {
  theme.on(applyTheme);
  palette.on(applyTheme);
  light.addEventListener("change", applyTheme);
  applyTheme();
}

/** A color of app.css (#rrggbb) with an opacity. */
export function withOpacity(color: string, opacity: number): string {
  return color + Math.round(opacity * 255).toString(16).padStart(2, "0");
}

/** A mix of two colors (#rrggbb): a share from 0 to 1 of the second. */
export function mixColors(from: string, to: string, share: number): string {
  const part = (at: number) => {
    const [a, b] = [from, to].map((color) => parseInt(color.slice(at, at + 2), 16)) as [number, number];
    return Math.round(a + (b - a) * share);
  };
  return `rgb(${part(1)} ${part(3)} ${part(5)})`;
}
