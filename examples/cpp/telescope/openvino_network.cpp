#include <map>
#include <openvino/openvino.hpp>

#include "telescope/error.h"
#include "telescope/network.h"

namespace telescope {
namespace {

class OpenVinoNetwork : public Network {
 public:
    OpenVinoNetwork(const Model& model, int threads) : model_(model), threads_(threads) {
        request(model.spec.trained);  // so that a model that cannot be loaded is reported at once
    }

    void run(float* lr, float* sr, int count, cv::Size tile) override {
        ov::InferRequest& running = request(tile);
        running.set_input_tensor(tensor(lr, count, tile));
        running.set_output_tensor(tensor(sr, count, tile * model_.spec.scale));
        running.infer();
    }

 private:
    /// Compiled once for each input size, since OpenVINO fuses more layers if it knows the size.
    ov::InferRequest& request(cv::Size tile) {
        const auto key = std::make_pair(tile.height, tile.width);
        const auto found = requests_.find(key);
        if (found != requests_.end()) return found->second;
        const std::string file = model_.network(tile).string();
        try {
            const auto network = core_.read_model(file);
            network->reshape(ov::PartialShape{-1, 3, tile.height, tile.width});
            auto compiled = core_.compile_model(
                network, "CPU", ov::inference_num_threads(threads_),
                ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                ov::hint::inference_precision(ov::element::f32));  // the same pixels on every processor
            return requests_[key] = compiled.create_infer_request();
        } catch (const ov::Exception& error) {
            throw Error("OpenVINO cannot load " + file + ": " + error.what());
        }
    }

    /// A view of the memory.
    static ov::Tensor tensor(float* values, int count, cv::Size size) {
        return ov::Tensor(ov::element::f32, {size_t(count), 3, size_t(size.height), size_t(size.width)}, values);
    }

    Model model_;
    int threads_;
    ov::Core core_;
    std::map<std::pair<int, int>, ov::InferRequest> requests_;
};

}  // namespace

std::unique_ptr<Network> open_openvino(const Model& model, int threads) {
    return std::make_unique<OpenVinoNetwork>(model, threads);
}

}  // namespace telescope
