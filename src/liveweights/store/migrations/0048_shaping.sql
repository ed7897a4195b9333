-- A gate asks a candidate as the recorded answer was asked, and so has to know how that was.
alter table generations add column shaping jsonb not null default '{}';
comment on column generations.shaping is
'What shaped the answer beside the columns before it: stop, the strings that end it, and guided_by, the names of penalties, a bias, a constraint and the like. Without stop nobody knows.';

-- What was drafted before was asked with other stop strings, and is asked for again.
delete from drafts;
alter table drafts add column asked text not null;
comment on column drafts.asked is
'A digest of what ended the draft: stop strings and the most tokens. Feedback that comes later changes them.';
alter table drafts drop constraint drafts_pkey;
alter table drafts add primary key (checkpoint, engine, generation, asked);
