-- What was taken back, and what is gone from disk.

-- Set while what a promoted cycle made is no part of what is live: its feedback is unread again.
alter table cycles add column withdrawn_at timestamptz;

-- A pruned checkpoint keeps its row, for lineage; its files are gone and no alias may take it.
alter table checkpoints add column pruned_at timestamptz;
