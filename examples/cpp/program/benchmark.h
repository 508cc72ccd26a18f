#pragma once

#include "program/options.h"
#include "telescope/model.h"

/// Prints crops per second and milliseconds of each stage, for every backend or that of the options.
void benchmark(const Options& options, const telescope::Model& model);
