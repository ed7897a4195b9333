-- What is older than a user's deletion and comes after it is not recorded: every batch asks for new
-- deletions.
create index forgotten_by_time on forgotten (at);
