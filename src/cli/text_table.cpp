#include "cli/text_table.hpp"

#include <algorithm>

namespace kiln::cli {

void TextTable::add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }

std::string TextTable::str(const Terminal& terminal) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = display_width(columns_[c].title);
    for (const auto& row : rows_) {
      if (c < row.size()) width = std::max(width, display_width(row[c].text));
    }
    widths.push_back(width);
  }

  std::string text;
  const auto add_line = [&](const std::vector<Cell>& row) {
    std::size_t pending = 0;  // blanks are only written when something follows them
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::size_t fill = widths[c] - display_width(row[c].text);
      if (c > 0) pending += 2;
      if (columns_[c].align == Align::right) pending += fill;
      if (!row[c].text.empty()) {
        text.append(pending, ' ');
        pending = 0;
        text += terminal.paint(row[c].tone, row[c].text);
      }
      if (row[c].text.empty() && columns_[c].align == Align::right) continue;
      if (columns_[c].align == Align::left) pending += fill;
    }
    text += '\n';
  };
  std::vector<Cell> header;
  for (const Column& column : columns_) header.emplace_back(column.title, Tone::dim);
  add_line(header);
  for (const auto& row : rows_) add_line(row);
  return text;
}

}  // namespace kiln::cli
