#include <onnxruntime_cxx_api.h>

#include "telescope/error.h"
#include "telescope/network.h"

namespace telescope {
namespace {

class OnnxNetwork : public Network {
 public:
    OnnxNetwork(const Model& model, int threads)
        : spec_(model.spec),
          trained_(open(model.network(spec_.trained), threads)),
          any_size_(open(model.network(model.sizes.back()), threads)) {}

    void run(float* lr, float* sr, int count, cv::Size tile) override {
        Ort::Session& session = tile == spec_.trained ? trained_ : any_size_;
        const Ort::Value input = tensor(lr, count, tile);
        Ort::Value output = tensor(sr, count, tile * spec_.scale);
        Ort::AllocatorWithDefaultOptions allocator;
        const auto in = session.GetInputNameAllocated(0, allocator);
        const auto out = session.GetOutputNameAllocated(0, allocator);
        const char *in_names[] = {in.get()}, *out_names[] = {out.get()};
        session.Run(Ort::RunOptions(), in_names, &input, 1, out_names, &output, 1);
    }

 private:
    Ort::Session open(const std::filesystem::path& file, int threads) {
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(threads);
        try {
            return Ort::Session(environment_, file.c_str(), options);
        } catch (const Ort::Exception& error) {
            throw Error("ONNX Runtime cannot load " + file.string() + " (" + error.what() +
                        "); restore the file as it was published");
        }
    }

    /// A view of the memory.
    static Ort::Value tensor(float* values, int count, cv::Size size) {
        const int64_t shape[] = {count, 3, size.height, size.width};
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        return Ort::Value::CreateTensor<float>(memory, values, 3 * size_t(count) * size.area(), shape, 4);
    }

    Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR, "telescope"};
    PixelSpec spec_;
    Ort::Session trained_, any_size_;
};

}  // namespace

std::unique_ptr<Network> open_onnx(const Model& model, int threads) {
    return std::make_unique<OnnxNetwork>(model, threads);
}

}  // namespace telescope
