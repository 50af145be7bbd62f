// node build.mjs [--out FOLDER | --test]
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const shared = { bundle: true, absWorkingDir: here, logLevel: "warning", charset: "utf8", legalComments: "none" };

// The libraries create formatters for the browser's language and fail if it is en-US@posix. The page is in
// English anyway. `define` replaces only global names.
const english = {
  name: "english",
  setup(builder) {
    builder.onLoad({ filter: /uPlot\.esm\.js$/ }, ({ path }) => {
      const source = readFileSync(path, "utf8");
      const contents = source.replace("nav.language", '"en-US"');
      if (contents === source) throw new Error(`${path} no longer reads nav.language: remove this plugin`);
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
  const license = (name) => readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8").trim();
  return [
    readFileSync(join(here, "NOTICE.txt"), "utf8").trim(),
    ...["lightweight-charts", "fancy-canvas", "uplot"].map((name) => `${"=".repeat(76)}\n${name}\n\n${text(name, license)}`),
  ].join("\n\n") + "\n";
}

function text(name, license) {
  // fancy-canvas names its license in package.json but has no license file
  if (name !== "fancy-canvas") return license(name);
  const manifest = JSON.parse(readFileSync(join(here, "node_modules", name, "package.json"), "utf8"));
  return `${manifest.license} license, version ${manifest.version}, by ${manifest.author?.name ?? manifest.author ?? "its authors"}; for the text of the MIT license see uplot below.`;
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
