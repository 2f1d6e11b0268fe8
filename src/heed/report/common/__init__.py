"""What the pages of all kinds of runs share: records, blocks, formats, the look of plots."""
