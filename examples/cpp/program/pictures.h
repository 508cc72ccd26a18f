#pragma once

#include <filesystem>
#include <opencv2/core.hpp>
#include <vector>

/// A picture in colour, CV_8UC3 in BGR. Throws telescope::Error if OpenCV cannot read it.
cv::Mat read_picture(const std::filesystem::path& file);

/// Throws telescope::Error.
void write_picture(const std::filesystem::path& file, const cv::Mat& picture);

/// out/NAME.png for each source, after making the folder `out`.
///
/// Throws telescope::Error if two results would have one name, a source would be overwritten, or `out` is not a
/// folder or cannot be made.
std::vector<std::filesystem::path> targets(const std::vector<std::filesystem::path>& sources,
                                           const std::filesystem::path& out);
