// g++ -std=c++17 run.cpp -o run $(pkg-config --cflags --libs libonnxruntime)
// ./run model.onnx THRESHOLD... < pixels.bin  prints class number, score and exit of each image
#include <algorithm>
#include <iostream>
#include <onnxruntime_cxx_api.h>
int main(int argc, char** argv) {
  Ort::Env env;
  Ort::Session session(env, argv[1], Ort::SessionOptions());
  std::vector<uint8_t> pixels(std::istreambuf_iterator<char>(std::cin), {});
  auto shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  shape[0] = pixels.size() / (shape[1] * shape[2] * shape[3]);
  std::vector<float> thresholds;
  for (int i = 2; i < argc; i++) thresholds.push_back(std::stof(argv[i]));
  int64_t count = thresholds.size();
  auto cpu = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  Ort::Value in[] = {Ort::Value::CreateTensor(cpu, pixels.data(), pixels.size(), shape.data(), 4),
                     Ort::Value::CreateTensor(cpu, thresholds.data(), count, &count, 1)};
  const char *names[] = {"image", "thresholds"}, *wanted[] = {"scores", "exits"};
  auto out = session.Run(Ort::RunOptions(), names, in, count ? 2 : 1, wanted, 2);
  auto classes = out[0].GetTensorTypeAndShapeInfo().GetShape()[1];
  for (int64_t i = 0; i < shape[0]; i++) {
    float *row = &out[0].At<float>({i, 0}), *best = std::max_element(row, row + classes);
    std::cout << best - row << ' ' << *best << ' ' << out[1].At<int64_t>({i}) << '\n';
  }
}
