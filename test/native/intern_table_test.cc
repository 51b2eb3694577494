#include "intern_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "test_random.h"

namespace kvferry {
namespace {

constexpr uint32_t kHash = 32;
constexpr uint32_t kFamily = 16;

std::string Record(uint64_t hash, uint64_t family) {
  std::string record(kHash + kFamily, '\0');
  for (int i = 0; i < 4; ++i) {
    const uint64_t word = (hash + 1) * 0x9e3779b97f4a7c15 + static_cast<uint64_t>(i);
    std::memcpy(&record[static_cast<size_t>(8 * i)], &word, 8);
  }
  std::memcpy(&record[kHash], &family, 8);
  return record;
}

const uint8_t* Bytes(const std::string& text) { return reinterpret_cast<const uint8_t*>(text.data()); }

std::vector<uint32_t> Intern(InternTable& table, const std::vector<std::string>& records, uint32_t* inserted = nullptr) {
  std::string joined;
  for (const std::string& record : records) joined += record;
  std::vector<uint32_t> ids(records.size());
  uint32_t count = 0;
  const Status status = table.Intern(Bytes(joined), records.size(), ids.data(), &count);
  EXPECT_TRUE(status.ok()) << status.message();
  if (inserted != nullptr) *inserted = count;
  return ids;
}

uint32_t Find(InternTable& table, const std::string& record) {
  uint32_t id = 0;
  table.Find(Bytes(record), 1, &id);
  return id;
}

TEST(InternTableTest, ARecordHasOneIdAndIdsAreDenseFromOne) {
  InternTable table(kHash, kFamily, 1);
  uint32_t inserted = 0;
  EXPECT_EQ(Intern(table, {Record(1, 1), Record(2, 1), Record(1, 1), Record(1, 2)}, &inserted), (std::vector<uint32_t>{1, 2, 1, 3}));
  EXPECT_EQ(inserted, 3u);
  EXPECT_EQ(table.size(), 3u);
  EXPECT_EQ(table.id_bound(), 3u);
  EXPECT_EQ(Find(table, Record(2, 1)), 2u);
  EXPECT_EQ(Find(table, Record(2, 2)), 0u);
}

TEST(InternTableTest, AnIdLivesAsLongAsItsReferencesAndIsRecycledWithAnotherGeneration) {
  InternTable table(kHash, kFamily, 1);
  const auto ids = Intern(table, {Record(1, 1), Record(1, 1)});
  uint32_t generation = 0;
  ASSERT_TRUE(table.Generations(ids.data(), 1, &generation).ok());
  ASSERT_TRUE(table.Retain(ids.data(), 1).ok());
  uint32_t recycled = 0;
  ASSERT_TRUE(table.Release(ids.data(), 2, &recycled).ok());
  EXPECT_EQ(recycled, 0u);
  EXPECT_EQ(Find(table, Record(1, 1)), 1u);
  ASSERT_TRUE(table.Release(ids.data(), 1, &recycled).ok());
  EXPECT_EQ(recycled, 1u);
  EXPECT_EQ(Find(table, Record(1, 1)), 0u);
  EXPECT_EQ(Intern(table, {Record(9, 9)})[0], 1u);
  uint32_t later = 0;
  ASSERT_TRUE(table.Generations(ids.data(), 1, &later).ok());
  EXPECT_NE(generation, later);
}

TEST(InternTableTest, AWrongCallChangesNothing) {
  InternTable table(kHash, kFamily, 1);
  const auto ids = Intern(table, {Record(1, 1), Record(2, 1)});
  const std::vector<std::vector<uint32_t>> wrong = {{1, 0}, {1, 3}, {1, UINT32_MAX}, {1, 2, 1}};
  for (const auto& batch : wrong) {
    uint32_t recycled = 7;
    EXPECT_EQ(table.Release(batch.data(), batch.size(), &recycled).code(), StatusCode::kStaleHandle);
    EXPECT_EQ(recycled, 0u);
    EXPECT_EQ(table.size(), 2u);
  }
  EXPECT_EQ(table.Retain(wrong[1].data(), 2).code(), StatusCode::kStaleHandle);
  uint8_t out[2 * (kHash + kFamily)];
  EXPECT_EQ(table.Records(wrong[1].data(), 2, out).code(), StatusCode::kStaleHandle);
  uint32_t recycled = 0;
  ASSERT_TRUE(table.Release(ids.data(), 2, &recycled).ok());
  EXPECT_EQ(recycled, 2u) << "one reference each is left, whatever the refused calls did on the way";
}

TEST(InternTableTest, RandomLifeAgreesWithAMap) {
  TestRandom random;
  InternTable table(kHash, kFamily, random.Next());
  std::map<std::string, std::pair<uint32_t, uint32_t>> expected;  // record -> id, references
  std::map<uint32_t, std::string> by_id;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> batch;
    const uint32_t count = random.Below(200);
    // Few distinct hashes at first, then more and more, so that the table grows and shrinks.
    for (uint32_t i = 0; i < count; ++i) batch.push_back(Record(random.Below(50 + static_cast<uint32_t>(round) * 10), random.Below(1 + random.Below(40))));
    if (random.OneIn(2)) {
      const auto ids = Intern(table, batch);
      for (size_t i = 0; i < batch.size(); ++i) {
        auto& [id, references] = expected[batch[i]];
        if (references == 0) {
          ASSERT_EQ(by_id.count(ids[i]), 0u) << "a live id was given out again";
          id = ids[i];
          by_id[id] = batch[i];
        }
        ASSERT_EQ(ids[i], id);
        references += 1;
      }
    } else {
      std::vector<uint32_t> ids;
      std::map<std::string, uint32_t> released;
      for (const std::string& record : batch) {
        const auto found = expected.find(record);
        ASSERT_EQ(Find(table, record), found == expected.end() ? 0u : found->second.first);
        if (found == expected.end() || released[record] == found->second.second) continue;
        released[record] += 1;
        ids.push_back(found->second.first);
      }
      uint32_t recycled = 0;
      ASSERT_TRUE(table.Release(ids.data(), ids.size(), &recycled).ok());
      uint32_t gone = 0;
      for (const auto& [record, times] : released) {
        if (times == 0) continue;
        auto& [id, references] = expected[record];
        references -= times;
        if (references > 0) continue;
        by_id.erase(id);
        expected.erase(record);
        gone += 1;
      }
      ASSERT_EQ(recycled, gone);
    }
    ASSERT_EQ(table.size(), expected.size());
  }
  std::vector<uint8_t> out(kHash + kFamily);
  for (const auto& [id, record] : by_id) {
    ASSERT_TRUE(table.Records(&id, 1, out.data()).ok());
    ASSERT_EQ(std::memcmp(out.data(), record.data(), out.size()), 0);
  }
}

TEST(InternTableTest, IdsDoNotDependOnTheSeed) {
  TestRandom random;
  InternTable first(kHash, kFamily, random.Next());
  InternTable second(kHash, kFamily, random.Next());
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> batch;
    for (int i = 0; i < 64; ++i) batch.push_back(Record(random.Below(3000), random.Below(3)));
    const auto ids = Intern(first, batch);
    ASSERT_EQ(Intern(second, batch), ids);
    uint32_t recycled = 0;
    ASSERT_TRUE(first.Release(ids.data(), 32, &recycled).ok());
    ASSERT_TRUE(second.Release(ids.data(), 32, &recycled).ok());
  }
}

TEST(InternTableTest, AMillionKeysCostAtMost50BytesEachAndGrowingNeverDoubles) {
  InternTable table(kHash, kFamily, 1);
  std::string records;
  std::vector<uint32_t> ids(1000);
  uint64_t highest_step = 0;
  uint64_t before = table.memory_bytes();
  for (uint32_t batch = 0; batch < 1100; ++batch) {
    records.clear();
    for (uint32_t i = 0; i < 1000; ++i) records += Record(batch * 1000 + i, i % 8);
    uint32_t inserted = 0;
    ASSERT_TRUE(table.Intern(Bytes(records), 1000, ids.data(), &inserted).ok());
    ASSERT_EQ(inserted, 1000u);
    highest_step = std::max(highest_step, table.memory_bytes() - before);
    before = table.memory_bytes();
    if (batch == 999) {
      EXPECT_LE(static_cast<double>(table.memory_bytes()) / 1e6, 50.0);
    }
  }
  EXPECT_LE(highest_step, 256u * 1024);
  EXPECT_LE(static_cast<double>(table.memory_bytes()) / 1.1e6, 50.0);
}

TEST(InternTableTest, HashesThatAgreeInMostBytesDoNotShareABucket) {
  // A client that chooses its hashes may vary only a few bytes of them; with a table that looked at eight bytes this test
  // would take minutes.
  InternTable table(kHash, kFamily, 12345);
  for (size_t varied = 0; varied < kHash; varied += 4) {
    std::string record(kHash + kFamily, 'x');
    for (uint32_t i = 0; i < 30'000; ++i) {
      std::memcpy(&record[varied], &i, 4);
      uint32_t id = 0;
      uint32_t inserted = 0;
      ASSERT_TRUE(table.Intern(Bytes(record), 1, &id, &inserted).ok());
    }
  }
}

TEST(InternTableTest, ManyFamiliesWorkAndTheirLimitIsAnError) {
  InternTable table(8, 8, 3);
  std::vector<uint32_t> ids;
  Status status;
  for (uint64_t family = 0; family <= FamilyTable::kMaxFamilies; ++family) {
    uint64_t record[2] = {1, family};
    uint32_t id = 0;
    uint32_t inserted = 0;
    status = table.Intern(reinterpret_cast<const uint8_t*>(record), 1, &id, &inserted);
    if (!status.ok()) break;
    ids.push_back(id);
  }
  EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
  EXPECT_EQ(ids.size(), FamilyTable::kMaxFamilies);
  EXPECT_EQ(table.size(), ids.size());
  uint64_t out[2] = {};
  ASSERT_TRUE(table.Records(&ids[200'000], 1, reinterpret_cast<uint8_t*>(out)).ok());
  EXPECT_EQ(out[1], 200'000u);
  uint32_t recycled = 0;
  ASSERT_TRUE(table.Release(ids.data(), ids.size(), &recycled).ok());
  EXPECT_EQ(table.size(), 0u);
}

TEST(InternTableTest, AnySizeOfHashAndFamilyWorks) {
  for (const uint32_t hash : {1u, 7u, 8u, 20u, 31u, 33u, 256u}) {
    for (const uint32_t family : {0u, 1u, 17u}) {
      InternTable table(hash, family, 5);
      std::string record(hash + family, 'a');
      uint32_t id = 0;
      uint32_t inserted = 0;
      ASSERT_TRUE(table.Intern(Bytes(record), 1, &id, &inserted).ok());
      record[hash - 1] = 'b';
      ASSERT_TRUE(table.Intern(Bytes(record), 1, &id, &inserted).ok());
      EXPECT_EQ(id, 2u);
      std::string out(hash + family, '\0');
      ASSERT_TRUE(table.Records(&id, 1, reinterpret_cast<uint8_t*>(out.data())).ok());
      EXPECT_EQ(out, record);
    }
  }
}

}  // namespace
}  // namespace kvferry
