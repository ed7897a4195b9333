-- Of what a gate was answered: how sure the checkpoint was of it. What was asked before is asked
-- again, before it is decided whether to show it.
delete from replays;
alter table replays add column confidence double precision not null;
