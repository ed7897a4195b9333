-- Whoever offers a refused answer again has to know whether it is to be charged.
alter table quarantine add column imported boolean not null default false;
comment on column quarantine.imported is
'Of an import: the answer was given elsewhere before, and nothing is charged for it.';
