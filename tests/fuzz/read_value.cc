// A shared value whose writer writes what the input says into its memory, before its readers open
// it and between their reads; and one that goes on where that writer has ended.
#include <cstdint>
#include <cstring>
#include <string>

#include "core/region/snapshot_reader.h"
#include "core/region/snapshot_writer.h"
#include "core/shm/memory.h"
#include "tests/fuzz/input.h"

namespace mailrail {
namespace {

class ReadValue {
 public:
  explicit ReadValue(Input* input)
      : input_(input), geometry_(SnapshotGeometry::For(1 + input->Below(600), 0)) {
    data_fd_ = CreateMemory("fuzz", geometry_.data_bytes()).value();
    bell_fd_ = CreateMemory("fuzz", sizeof(SnapshotBell)).value();
    data_ = Mapping::Map(data_fd_, geometry_.data_bytes(), Access::kReadWrite).value();
    bell_ = Mapping::Map(bell_fd_, sizeof(SnapshotBell), Access::kReadWrite).value();
    seen_ = Mapping::Map(data_fd_, geometry_.data_bytes(), Access::kReadOnly).value();
    FormatSnapshot(geometry_, data_.data());
  }

  void Run() {
    SnapshotWriter sound(geometry_, data_.data(), bell());
    for (uint32_t i = input_->Below(10); i > 0; --i) Publish(&sound);
    while (!input_->empty()) {
      if (input_->Below(3) != 0) {
        Spoil();
      } else {
        Open();
      }
    }
    GoOn();
  }

 private:
  SnapshotBell* bell() const { return reinterpret_cast<SnapshotBell*>(bell_.data()); }

  // Version v is full of v's last byte.
  void Publish(SnapshotWriter* writer) {
    const std::string value(geometry_.value_bytes, static_cast<char>(writer->version() + 1));
    writer->Publish(value.data());
  }

  // Any word of either memory, but often one of the header, near to what is right.
  void Spoil() {
    const bool in_bell = input_->Below(4) == 0;
    const Mapping& memory = in_bell ? bell_ : data_;
    const size_t words = memory.size() / sizeof(uint64_t);
    const size_t at = input_->Bool() ? input_->Below(24) : input_->Below(words);
    uint64_t word;
    char* const place = memory.data() + at % words * sizeof(word);
    std::memcpy(&word, place, sizeof(word));
    word = input_->Bool() ? word + input_->Number() : input_->Number();
    std::memcpy(place, &word, sizeof(word));
  }

  void Open() {
    // A reader asks for the size that it has room for.
    const uint64_t asked = input_->Bool() ? geometry_.value_bytes : input_->Below(2000);
    SnapshotGeometry said;
    if (!CheckSnapshot(seen_.data(), seen_.size(), asked, 0, &said).ok()) return;
    Promise(said.value_bytes == asked, "a value has the size that it is opened with");
    Promise(said.data_bytes() <= seen_.size(), "all buffers are inside the memory");
    const SnapshotReader reader(said, seen_.data(), bell());
    while (input_->Bool()) {
      Read(reader, asked);
      Spoil();
    }
    Parker parker = reader.MakeParker();
    parker.Park();
    Read(reader, asked);
  }

  static void Read(const SnapshotReader& reader, uint64_t bytes) {
    std::string value(bytes + 1, '!');
    uint64_t version = 0;
    const SnapshotLook look = reader.Read(value.data(), &version);
    Promise(value.back() == '!', "nothing is written behind a value");
    Promise(look != SnapshotLook::kOvertaken, "memory that stands still is copied once");
    if (look == SnapshotLook::kRead) {
      Promise(version == reader.latest() && version != 0, "what is read is the last version");
    }
  }

  // The next writer, for a reader whose memory was checked before it was spoilt.
  void GoOn() {
    SnapshotWriter next(geometry_, data_.data(), bell());
    if (!next.sound() || next.version() + 3 >= kSnapshotVersionsEnd) return;
    const SnapshotReader reader(geometry_, seen_.data(), bell());
    for (int i = 0; i < 3; ++i) {
      Publish(&next);
      std::string value(geometry_.value_bytes, '\0');
      uint64_t version = 0;
      Promise(reader.Read(value.data(), &version) == SnapshotLook::kRead,
              "the next writer is read");
      Promise(version == next.version(), "its version is the last");
      Promise(value == std::string(value.size(), static_cast<char>(version)), "and whole");
    }
  }

  Input* const input_;
  const SnapshotGeometry geometry_;
  Fd data_fd_, bell_fd_;
  Mapping data_, bell_, seen_;
};

}  // namespace
}  // namespace mailrail

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mailrail::NoDescriptorIsLeft none;
  mailrail::Input input(data, size);
  mailrail::ReadValue(&input).Run();
  return 0;
}
