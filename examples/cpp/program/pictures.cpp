#include "program/pictures.h"

#include <map>
#include <opencv2/imgcodecs.hpp>

#include "telescope/error.h"

namespace fs = std::filesystem;
using telescope::Error;

cv::Mat read_picture(const fs::path& file) {
    if (fs::is_directory(file)) throw Error(file.string() + " is a folder; name the pictures in it");
    if (!fs::exists(file)) throw Error(file.string() + " does not exist");
    cv::Mat picture;
    try {
        picture = cv::imread(file.string(), cv::IMREAD_COLOR);
    } catch (const cv::Exception&) {  // such as a picture above OpenCV's limit of pixels
    }
    if (picture.empty())
        throw Error(file.string() + " is no picture that OpenCV can read; convert it to PNG or JPEG");
    return picture;
}

void write_picture(const fs::path& file, const cv::Mat& picture) {
    bool written = false;
    try {
        written = cv::imwrite(file.string(), picture);
    } catch (const cv::Exception&) {  // such as a picture above the limits of PNG
    }
    if (!written) throw Error(file.string() + " cannot be written; choose another folder with -o");
}

std::vector<fs::path> targets(const std::vector<fs::path>& sources, const fs::path& out) {
    std::error_code error;
    if (fs::exists(out, error) && !fs::is_directory(out)) {
        throw Error(out.string() + " is not a folder; the results go into one");
    }
    fs::create_directories(out, error);
    if (error)
        throw Error(out.string() + " cannot be made (" + error.message() + "); choose another folder with -o");
    std::vector<fs::path> found;
    std::map<fs::path, fs::path> source_of;
    for (const fs::path& source : sources) {
        const fs::path target = out / source.stem().concat(".png");
        const auto [taken, is_new] = source_of.emplace(target, source);
        if (!is_new) {
            throw Error(source.string() + " and " + taken->second.string() + " would both become " +
                        target.string() + "; rename one, or process it alone into another folder");
        }
        found.push_back(target);
    }
    for (const fs::path& source : sources) {
        for (const fs::path& target : found) {
            if (fs::equivalent(source, target, error) && !error) {
                throw Error(target.string() +
                            " is one of the inputs, and would be overwritten; choose another folder "
                            "with -o");
            }
        }
    }
    return found;
}
