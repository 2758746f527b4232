// Classify raw pixels with an exported network: prints class number, score and exit of each image.
//   npm install onnxruntime-web
//   node run.mjs model.onnx THRESHOLD... < pixels.bin
import { readFileSync } from 'node:fs';
import * as ort from 'onnxruntime-web';

const [model, ...thresholds] = process.argv.slice(2);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(model));
const [, height, width] = session.inputMetadata[0].shape;
const pixels = new Uint8Array(readFileSync(0));
const count = pixels.length / (height * width * 3);
const feed = { image: new ort.Tensor('uint8', pixels, [count, height, width, 3]) };
if (thresholds.length) {
  feed.thresholds = new ort.Tensor('float32', thresholds.map(Number), [thresholds.length]);
}
const { scores, exits } = await session.run(feed);
const classes = scores.dims[1];
for (let i = 0; i < count; i++) {
  const row = scores.data.subarray(i * classes, (i + 1) * classes);
  const score = Math.max(...row);
  console.log(row.indexOf(score), score.toFixed(6), Number(exits.data[i]));
}
