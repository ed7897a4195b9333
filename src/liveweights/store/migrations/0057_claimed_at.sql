-- What users of a chat said next is read as of the claim, however often a cycle is computed. Of
-- cycles from before, it is not known when that was.
alter table seals add column claimed_at timestamptz not null default now();
comment on column seals.claimed_at is
'When the cycle claimed what it reads: what users of chats said next counts up to then.';
update seals set claimed_at = ended_at from cycles
where cycles.id = seals.cycle and ended_at is not null;
