-- A day that is back only until a user is out of its files, so that whoever goes on after a kill
-- knows to take it out again.
alter table archives add column borrowed boolean not null default false;
comment on column archives.borrowed is
'Brought back only to take a user out of its files: it goes to files again as soon as that is done.';
comment on table archives is
'Days whose rows went to files, and what is in them; of days that were dropped for good, how many rows they had.';
comment on column archives.files is
'SHA-256 of the files by name: two, and more for rows that came once the day was in files; empty where the rows were dropped for good.';
