// node build.mjs [--out FOLDER | --test]
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const shared = { bundle: true, absWorkingDir: here, logLevel: "warning", charset: "utf8", legalComments: "none" };

// The libraries make formatters of the browser's language and die of one that calls itself en-US@posix.
// Our page is in English anyway. `define` reaches only names that are global.
const english = {
  name: "english",
  setup(builder) {
    builder.onLoad({ filter: /uPlot\.esm\.js$/ }, ({ path }) => {
      const source = readFileSync(path, "utf8");
      const contents = source.replace("nav.language", '"en-US"');
      if (contents === source) throw new Error(`${path} no longer asks for nav.language: drop this plugin`);
      return { contents };
    });
  },
};

async function page(out) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  await build({
    ...shared,
    entryPoints: { app: "src/main.ts" },
    outdir: out,
    format: "esm",
    target: ["es2022"],
    minify: true,
    define: { "navigator.language": '"en-US"' },
    plugins: [english],
  });
  await build({ ...shared, entryPoints: { app: "src/css/app.css" }, outdir: out, target: ["chrome112", "firefox117", "safari16.5"], minify: true });
  for (const name of ["index.html", "favicon.svg"]) copyFileSync(join(here, name), join(out, name));
  writeFileSync(join(out, "NOTICE.txt"), notice());
}

function notice() {
  const licence = (name) => readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8").trim();
  return [
    readFileSync(join(here, "NOTICE.txt"), "utf8").trim(),
    ...["lightweight-charts", "fancy-canvas", "uplot"].map((name) => `${"=".repeat(76)}\n${name}\n\n${text(name, licence)}`),
  ].join("\n\n") + "\n";
}

function text(name, licence) {
  // fancy-canvas names its licence in package.json and ships no text of it
  if (name !== "fancy-canvas") return licence(name);
  const about = JSON.parse(readFileSync(join(here, "node_modules", name, "package.json"), "utf8"));
  return `${about.license} licence, version ${about.version}, by ${about.author?.name ?? about.author ?? "its authors"}; the MIT text stands below, under uplot.`;
}

async function test() {
  const out = mkdtempSync(join(tmpdir(), "tickerlake-web-"));
  const names = readdirSync(join(here, "test")).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...shared,
    entryPoints: names.map((name) => join("test", name)),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    format: "esm",
    platform: "node",
  });
  const ran = spawnSync(process.execPath, ["--test", "--test-reporter=spec", ...names.map((n) => join(out, n.replace(/\.ts$/, ".mjs")))], { stdio: "inherit" });
  rmSync(out, { recursive: true, force: true });
  process.exit(ran.status ?? 1);
}

const [flag, folder] = process.argv.slice(2);
if (flag === "--test") await test();
else await page(flag === "--out" && folder ? folder : join(here, "../src/tickerlake/dashboard/static"));
