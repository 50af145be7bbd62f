// node unpack.mjs FOLDER: the files of the package, which are packed with Brotli
import { createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const packed = new URL("node_modules/@sparticuz/chromium/bin/", import.meta.url);
for (const name of ["chromium", "fonts.tar"]) {
  await pipeline(
    createReadStream(new URL(`${name}.br`, packed)),
    createBrotliDecompress(),
    createWriteStream(join(process.argv[2], name), { mode: 0o755 }),
  );
}
