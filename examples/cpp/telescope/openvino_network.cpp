#include <map>
#include <openvino/openvino.hpp>

#include "telescope/error.h"
#include "telescope/network.h"

namespace telescope {
namespace {

class OpenVinoNetwork : public Network {
 public:
    OpenVinoNetwork(const Model& model, int threads)
        : spec_(model.spec),
          threads_(threads),
          trained_(read(model.network(spec_.trained))),
          any_size_(read(model.network(model.sizes.back()))) {}

    /// One tile after the other: a network for batches of any size would be slower, as fewer layers are fused.
    void run(float* lr, float* sr, int count, cv::Size tile) override {
        const ov::Shape in = shape(tile), out = shape(tile * spec_.scale);
        ov::InferRequest& running = request(tile);
        for (int i = 0; i < count; ++i) {
            running.set_input_tensor(ov::Tensor(ov::element::f32, in, lr + i * ov::shape_size(in)));
            running.set_output_tensor(ov::Tensor(ov::element::f32, out, sr + i * ov::shape_size(out)));
            running.infer();
        }
    }

 private:
    /// Compiled once for each input size.
    ov::InferRequest& request(cv::Size tile) {
        const auto key = std::make_pair(tile.height, tile.width);
        const auto found = requests_.find(key);
        if (found != requests_.end()) return found->second;
        const auto network = (tile == spec_.trained ? trained_ : any_size_)->clone();
        network->reshape(shape(tile));
        auto compiled = core_.compile_model(
            network, "CPU", ov::inference_num_threads(threads_),
            ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
            ov::hint::inference_precision(ov::element::f32));  // the same pixels on every processor
        return requests_[key] = compiled.create_infer_request();
    }

    std::shared_ptr<ov::Model> read(const std::filesystem::path& file) {
        try {
            return core_.read_model(file.string());
        } catch (const ov::Exception&) {  // whose message has many lines and names no other reason
            throw Error("OpenVINO cannot load " + file.string() + "; restore the file as it was published");
        }
    }

    static ov::Shape shape(cv::Size size) { return {1, 3, size_t(size.height), size_t(size.width)}; }

    PixelSpec spec_;
    int threads_;
    ov::Core core_;
    std::shared_ptr<ov::Model> trained_, any_size_;
    std::map<std::pair<int, int>, ov::InferRequest> requests_;
};

}  // namespace

std::unique_ptr<Network> open_openvino(const Model& model, int threads) {
    return std::make_unique<OpenVinoNetwork>(model, threads);
}

}  // namespace telescope
