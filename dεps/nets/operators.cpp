// Depthwise convolutions, and batch normalisation with the activation after it, of float32 tensors in channels_last:
// the parts of a training step in which torch is far from the machine's speed. `operators.py` builds and calls this.
//
// A tensor is a row of `channels` numbers a pixel. Each function computes the channels from `first` to `last`, each
// in the same order of additions whatever these are: threads that share the channels give the bits of one.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using Size = std::int64_t;

#ifdef __AVX512F__
constexpr int WIDEST = 16;
#else
constexpr int WIDEST = 8;
#endif

// L channels at once, at any address.
template <int L>
struct Lanes {
    typedef float Vector __attribute__((vector_size(4 * L)));
    static Vector load(const float* from) {
        Vector value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }
    static Vector zero() { return Vector{}; }
    static void store(float* to, Vector value) { std::memcpy(to, &value, sizeof value); }
};

// Calls work with `chosen` as a constant, if it is one of `choices`.
template <int... choices, class Work>
void with(int chosen, Work work) {
    (void)((chosen == choices && (work(std::integral_constant<int, choices>{}), true)) || ...);
}

// --- depthwise convolutions --------------------------------------------------------------------------------------

struct Images {
    Size batch, channels, height, width;
    Size one() const { return height * width * channels; }
};

// L channels of one image with a border of zeros, row by row without gaps.
template <int L>
struct Padded {
    const Images of;
    const Size border, width;
    std::vector<typename Lanes<L>::Vector> pixels;

    Padded(const Images& of, int border, int slack)
        : of(of), border(border), width(of.width + 2 * border + slack), pixels((of.height + 2 * border) * width) {}
    void fill(const float* image) {
        for (Size y = 0; y < of.height; ++y)
            for (Size x = 0; x < of.width; ++x, image += of.channels)
                pixels[(y + border) * width + border + x] = Lanes<L>::load(image);
    }
};

// Calls work.run(image, n, channel), image after image, for blocks of L channels, the widest that cover [first, last).
template <int L, class Work>
void in_blocks(const Work& work, Size first, Size last) {
    const Size covered = first + (last - first) / L * L;
    if (first == last) return;
    Padded<L> image(work.of, Work::BORDER, Work::SLACK);
    for (Size n = 0; n < work.of.batch; ++n)
        for (Size channel = first; channel < covered; channel += L) {
            image.fill(work.x + n * work.of.one() + channel);
            work.run(image, n, channel);
        }
    if constexpr (L > 1) in_blocks<L / 2>(work, covered, last);
}

// Rows of the kernel, from and to, that lie in the image and not in the border, where its first row is on `row`.
template <int K>
std::pair<int, int> inside(Size row, Size height) {
    return {int(std::max<Size>(0, K / 2 - row)), int(std::min<Size>(K, height + K / 2 - row))};
}

// y = x convolved with weight (K·K, channels), stride 1; TILE pixels of a row at once.
template <int K, int TILE>
struct Convolve {
    static constexpr int BORDER = K / 2, SLACK = TILE;
    Images of;
    const float *x, *weight;
    float* y;

    template <int L>
    void run(const Padded<L>& image, Size n, Size channel) const {
        typename Lanes<L>::Vector taps[K * K];
        for (int tap = 0; tap < K * K; ++tap) taps[tap] = Lanes<L>::load(weight + tap * of.channels + channel);
        float* to = y + n * of.one() + channel;
        for (Size row = 0; row < of.height; ++row, to += of.width * of.channels) {
            const auto [begin, end] = inside<K>(row, of.height);
            for (Size left = 0; left < of.width; left += TILE) {
                typename Lanes<L>::Vector sums[TILE] = {};
                for (int i = begin; i < end; ++i) {
                    const auto* from = image.pixels.data() + (row + i) * image.width + left;
#pragma GCC unroll 7
                    for (int j = 0; j < K; ++j)
#pragma GCC unroll 8
                        for (int t = 0; t < TILE; ++t) sums[t] += from[t + j] * taps[i * K + j];
                }
#pragma GCC unroll 8
                for (int t = 0; t < TILE; ++t)
                    if (left + t < of.width) Lanes<L>::store(to + (left + t) * of.channels, sums[t]);
            }
        }
    }
};

// Adds to gradient (K·K, channels) that of the weight: x correlated with dy, the gradient of the output.
template <int K, int S>
struct WeightGradient {
    static constexpr int BORDER = K / 2, SLACK = 0;
    Images of, out;
    const float *x, *dy;
    float* gradient;

    template <int L>
    void run(const Padded<L>& image, Size n, Size channel) const {
        typename Lanes<L>::Vector sums[K * K] = {};  // of this image: shorter sums round less
        const float* from = dy + n * out.one() + channel;
        for (Size row = 0; row < out.height; ++row, from += out.width * out.channels) {
            auto [i, end] = inside<K>(row * S, of.height);
            for (; i + 2 <= end; i += 2) add<L, 2>(image, row * S + i, from, sums + i * K);
            if (i < end) add<L, 1>(image, row * S + i, from, sums + i * K);
        }
        for (int tap = 0; tap < K * K; ++tap) {
            float* to = gradient + tap * of.channels + channel;
            Lanes<L>::store(to, Lanes<L>::load(to) + sums[tap]);
        }
    }

    // Adds what one row of dy gives to R rows of the kernel, whose sums stay in registers meanwhile.
    template <int L, int R>
    void add(const Padded<L>& image, Size row, const float* from, typename Lanes<L>::Vector* sums) const {
        typename Lanes<L>::Vector own[R * K];
        std::copy(sums, sums + R * K, own);
        const auto* line = image.pixels.data() + row * image.width;
        for (Size column = 0; column < out.width; ++column, line += S, from += out.channels) {
            const auto g = Lanes<L>::load(from);
#pragma GCC unroll 2
            for (int r = 0; r < R; ++r)
#pragma GCC unroll 7
                for (int j = 0; j < K; ++j) own[r * K + j] += g * line[r * image.width + j];
        }
        std::copy(own, own + R * K, sums);
    }
};

// --- batch normalisation and activation --------------------------------------------------------------------------

enum Act { NONE, RELU, RELU6, HSWISH };

template <class Vector>
Vector clamped(Vector z, float most) {
    const Vector zero = {}, low = z < zero ? zero : z;  // a comparison with NaN is false, which lets it through
    return low > zero + most ? zero + most : low;
}

template <int ACT, class Vector>
Vector activated(Vector z) {
    if (ACT == HSWISH) return z * clamped(z + 3, 6) * (1.0f / 6);
    return ACT == NONE ? z : clamped(z, ACT == RELU6 ? 6 : INFINITY);
}

// The gradient before the activation of z, where dy is that after it.
template <int ACT, class Vector>
Vector through(Vector z, Vector dy) {
    const Vector zero = {}, open = z <= zero ? zero : zero + 1;
    if (ACT == HSWISH) return z < zero - 3 ? zero : z <= zero + 3 ? dy * (z * (1.0f / 3) + 0.5f) : dy;
    // Multiplied, as a choice of dy itself becomes a slow load by mask.
    return ACT == NONE ? dy : dy * (ACT == RELU6 ? (z >= zero + 6 ? zero : open) : open);
}

// Calls work(Lanes<L>, channel) for blocks of channels that cover [first, last).
template <int L = WIDEST, class Work>
void over(Size first, Size last, const Work& work) {
    for (; first + L <= last; first += L) work(Lanes<L>{}, first);
    if constexpr (L > 1) over<L / 2>(first, last, work);
}

// Pixels at once, which stay in a core's cache. Blocks of their channels are no stream of memory that a processor
// foresees: it is asked for those of the next pixels.
Size together(Size channels) { return std::max<Size>(32, 8192 / channels); }
void fetch(const float* from) { __builtin_prefetch(from, 0, 2); }

}  // namespace

extern "C" {

// weight is (kernel·kernel, channels); stride 1.
void depthwise(const float* x, const float* weight, float* y, Size batch, Size channels, Size height, Size width,
               int kernel, Size first, Size last) {
    with<3, 5, 7>(kernel, [&](auto k) {
        with<4, 8>(width > 4 ? 8 : 4, [&](auto tile) {
            const Convolve<k, tile> work{{batch, channels, height, width}, x, weight, y};
            in_blocks<WIDEST>(work, first, last);
        });
    });
}

// gradient is (kernel·kernel, channels), zero before.
void depthwise_weight(const float* x, const float* dy, float* gradient, Size batch, Size channels, Size height,
                      Size width, int kernel, int stride, Size first, Size last) {
    with<5, 7>(kernel, [&](auto k) {
        with<1, 2>(stride, [&](auto s) {
            const Images out{batch, channels, (height - 1) / s + 1, (width - 1) / s + 1};
            const WeightGradient<k, s> work{{batch, channels, height, width}, out, x, dy, gradient};
            in_blocks<WIDEST>(work, first, last);
        });
    });
}

// saved is (4, channels): mean, inverse of the deviation, and what x is multiplied by and added to.
void batch_norm(const float* x, const float* weight, const float* bias, float* running_mean, float* running_var,
                float* saved, float* y, Size rows, Size channels, int act, double momentum, double eps,
                Size first, Size last) {
    std::vector<double> mean(channels), spread(channels);  // spread: sum of the squared differences from the mean
    const Size most = together(channels);
    for (Size row = 0; row < rows; row += most)
        over(first, last, [&](auto lanes, Size c) {
            const Size begin = row * channels + c, count = std::min(most, rows - row), end = begin + count * channels;
            auto sum = lanes.zero(), squares = sum;
            for (Size at = begin; at < end; at += channels) fetch(x + at + most * channels), sum += lanes.load(x + at);
            const auto middle = sum / float(count);
            for (Size at = begin; at < end; at += channels)
                squares += (lanes.load(x + at) - middle) * (lanes.load(x + at) - middle);
            const double share = double(count) / double(row + count);
            for (std::size_t i = 0; i < sizeof sum / 4; ++i) {
                const double off = middle[i] - mean[c + i];
                mean[c + i] += off * share;
                spread[c + i] += squares[i] + off * off * share * double(row);
            }
        });
    float *scale = saved + 2 * channels, *shift = saved + 3 * channels;
    for (Size c = first; c < last; ++c) {
        const double inverse = 1 / std::sqrt(spread[c] / double(rows) + eps);
        saved[c] = float(mean[c]), saved[channels + c] = float(inverse);
        scale[c] = float(weight[c] * inverse);
        shift[c] = float(bias[c] - mean[c] * weight[c] * inverse);
        running_mean[c] += float(momentum * (mean[c] - running_mean[c]));
        running_var[c] += float(momentum * (spread[c] / double(rows - 1) - running_var[c]));
    }
    with<NONE, RELU, RELU6, HSWISH>(act, [&](auto a) {
        for (Size row = 0; row < rows; ++row, x += channels, y += channels)
            over(first, last, [&](auto lanes, Size c) {
                const auto z = lanes.load(x + c) * lanes.load(scale + c) + lanes.load(shift + c);
                lanes.store(y + c, activated<a>(z));
            });
    });
}

// gradients is (2, channels): those of weight and bias.
void batch_norm_backward(const float* x, const float* dy, const float* saved, float* gradients, float* dx, Size rows,
                         Size channels, int act, Size first, Size last) {
    const float *means = saved, *inverse = saved + channels, *scale = inverse + channels, *shift = scale + channels;
    std::vector<double> plain(channels), product(channels);  // sums of dz, before the activation, and dz·(x - mean)
    std::vector<float> level(channels), slope(channels);
    with<NONE, RELU, RELU6, HSWISH>(act, [&](auto a) {
        const auto before = [&](auto lanes, Size at, Size c) {
            const auto z = lanes.load(x + at) * lanes.load(scale + c) + lanes.load(shift + c);
            return through<a>(z, lanes.load(dy + at));
        };
        const Size most = together(channels);
        for (Size row = 0; row < rows; row += most)
            over(first, last, [&](auto lanes, Size c) {
                const auto mean = lanes.load(means + c);
                auto one = lanes.zero(), two = one;
                for (Size at = row * channels + c; at < std::min(rows, row + most) * channels; at += channels) {
                    fetch(x + at + most * channels), fetch(dy + at + most * channels);
                    const auto dz = before(lanes, at, c);
                    one += dz;
                    two += dz * (lanes.load(x + at) - mean);
                }
                for (std::size_t i = 0; i < sizeof one / 4; ++i) plain[c + i] += one[i], product[c + i] += two[i];
            });
        for (Size c = first; c < last; ++c) {
            gradients[c] = float(product[c] * inverse[c]), gradients[channels + c] = float(plain[c]);
            level[c] = float(plain[c] / double(rows));
            slope[c] = float(product[c] * inverse[c] * inverse[c] / double(rows));
        }
        for (Size row = 0; row < rows; ++row)
            over(first, last, [&](auto lanes, Size c) {
                const Size at = row * channels + c;
                const auto off = (lanes.load(x + at) - lanes.load(means + c)) * lanes.load(slope.data() + c);
                const auto centred = before(lanes, at, c) - lanes.load(level.data() + c) - off;
                lanes.store(dx + at, centred * lanes.load(scale + c));
            });
    });
}
}
