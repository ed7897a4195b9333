-- What candidate and incumbent drafted for a gate is called a draft, and is the gate's own table.
alter table replays rename to drafts;
alter index replays_pkey rename to drafts_pkey;
alter index replays_by_generation rename to drafts_by_generation;
alter index replays_by_cycle rename to drafts_by_cycle;
comment on table drafts is
'What a checkpoint drafted for a held-back prompt when a gate asked it, and how sure it was: a later gate asks each checkpoint only what it has not drafted yet.';

-- For whoever removes generations: what was drafted for them says what they asked.
create function forget_drafts(generations text[]) returns void language sql as $$
    delete from drafts where generation = any(generations);
$$;
