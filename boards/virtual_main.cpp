// The virtual board's process: clocks the RTL and carries bytes between its UART and a pseudo-terminal.
//
//     simulation CYCLES_PER_BIT PERIOD_PS NOISE SEED
//
// NOISE of a million bytes, in each direction, are dropped, doubled or get a wrong bit. The first line
// on standard output is the terminal's path. SIGTERM ends the process with exit code 0; a use of the
// memory against its data sheet with 1; the memory's model has then said how.
//
// Time stands still while nothing happens: when the board owes no answer and the host is silent.

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <random>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr uint64_t kQuietCycles = 20000;        // then time stands still ...
constexpr uint64_t kPatientCycles = 4000000000; // ... and while an answer is owed, only after these
constexpr int kPollCycles = 64;                 // between two looks at the terminal
constexpr int kSleepMs = 50;
constexpr int kFrameBits = 10;

volatile sig_atomic_t stopped = 0;

void stop(int) { stopped = 1; }

// Damages bytes now and then.
class Noise {
  public:
    Noise(unsigned per_million, unsigned seed) : rate_(per_million), random_(seed) {}

    void pass(uint8_t byte, std::deque<uint8_t>& out) {
        if (random_() % 1000000 >= rate_) {
            out.push_back(byte);
            return;
        }
        switch (random_() % 3) {
            case 0: break;
            case 1: out.push_back(byte), out.push_back(byte); break;
            default: out.push_back(byte ^ 1u << random_() % 8);
        }
    }

  private:
    unsigned rate_;
    std::mt19937 random_;
};

// Drives the board's rx with the bytes of a queue.
class Sender {
  public:
    explicit Sender(unsigned cycles) : cycles_(cycles) {}

    bool busy() const { return left_ > 0 || !queue.empty(); }

    uint8_t step() {
        if (left_ == 0) {
            if (queue.empty()) return 1;
            frame_ = 1u << 9 | queue.front() << 1;
            queue.pop_front();
            left_ = kFrameBits * cycles_;
        }
        const unsigned bit = kFrameBits - 1 - (left_ - 1) / cycles_;
        --left_;
        return frame_ >> bit & 1;
    }

    std::deque<uint8_t> queue;

  private:
    unsigned cycles_, left_ = 0, frame_ = 0;
};

// Samples the board's tx in the middle of each bit.
class Receiver {
  public:
    explicit Receiver(unsigned cycles) : cycles_(cycles) {}

    // Whether a byte is complete; it is then in `byte`.
    bool step(uint8_t line) {
        if (count_ == 0) {
            if (line == 0) count_ = 1, frame_ = 0;
            return false;
        }
        const unsigned bit = count_ / cycles_, within = count_ % cycles_;
        ++count_;
        if (within != cycles_ / 2) return false;
        frame_ |= unsigned(line) << bit;
        if (bit + 1 < kFrameBits) return false;
        count_ = 0;
        byte = frame_ >> 1 & 255;
        return (frame_ >> 9 & 1) != 0;
    }

    uint8_t byte = 0;

  private:
    unsigned cycles_, count_ = 0, frame_ = 0;
};

int open_terminal() {
    int master = -1, slave = -1;
    char path[128];
    termios raw{};
    cfmakeraw(&raw);
    // The slave stays open here, so that the host may come and go.
    if (openpty(&master, &slave, path, &raw, nullptr) != 0) return -1;
    fcntl(master, F_SETFL, O_NONBLOCK);
    std::printf("%s\n", path);
    std::fflush(stdout);
    return master;
}

// All that the host has written by now.
bool take(int terminal, Noise& noise, std::deque<uint8_t>& out) {
    uint8_t bytes[4096];
    const ssize_t count = read(terminal, bytes, sizeof bytes);
    for (ssize_t i = 0; i < count; ++i) noise.pass(bytes[i], out);
    return count > 0;
}

// A host that does not read loses bytes, as on a serial port.
void give(int terminal, Noise& noise, uint8_t byte) {
    std::deque<uint8_t> out;
    noise.pass(byte, out);
    for (uint8_t one : out)
        if (write(terminal, &one, 1) < 0) return;
}

}  // namespace

int main(int argc, char** argv) {
    const auto context = std::make_unique<VerilatedContext>();
    context->commandArgs(argc, argv);
    if (argc < 5) return 2;
    const unsigned cycles_per_bit = std::atoi(argv[1]);
    const uint64_t period = std::atoi(argv[2]);
    const unsigned noise = std::atoi(argv[3]), seed = std::atoi(argv[4]);
    Noise to_board(noise, seed), to_host(noise, seed + 1);
    Sender sender(cycles_per_bit);
    Receiver receiver(cycles_per_bit);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    const int terminal = open_terminal();
    if (terminal < 0) return 3;
    const auto top = std::make_unique<Vtop>(context.get());
    top->rst = 1;
    top->rx = 1;
    // The memory's model has delays of its own.
    const auto advance = [&](uint64_t until) {
        while (top->eventsPending() && top->nextTimeSlot() < until) {
            context->time(top->nextTimeSlot());
            top->eval();
        }
        context->time(until);
    };
    uint64_t cycle = 0, last = 0;
    bool owed = false;
    while (!stopped && !context->gotFinish()) {
        top->clk = 1;
        top->eval();
        top->rst = cycle < 16;
        top->rx = sender.step();
        if (receiver.step(top->tx)) {
            give(terminal, to_host, receiver.byte);
            last = cycle, owed = false;
        }
        advance(cycle * period + period / 2);
        top->clk = 0;
        top->eval();
        advance(++cycle * period);
        if (cycle % kPollCycles) continue;
        if (top->failed) break;
        if (!top->awake) {  // what the host has sent waits in the terminal
            last = cycle;
            continue;
        }
        if (take(terminal, to_board, sender.queue)) last = cycle, owed = true;
        const uint64_t quiet = cycle - last;
        if (!sender.busy() && quiet > (owed ? kPatientCycles : kQuietCycles)) {
            pollfd waiting{terminal, POLLIN, 0};
            while (!stopped && poll(&waiting, 1, kSleepMs) == 0) {}
            last = cycle;
        }
    }
    top->final();
    std::fprintf(stderr, "%llu cycles\n", static_cast<unsigned long long>(cycle));
    return top->failed || context->gotError() ? 1 : 0;
}
