-- A tenant's own branch of a model: an alias of its own, which only the tenant's requests reach, with
-- its own live checkpoint, canary, releases and cycles. `code:acme` is what `acme` gets of `code`.

alter table aliases
    add column model text references aliases,   -- null: the name is the model's own
    add column tenant text,
    add constraint branch_of_both check ((model is null) = (tenant is null)),
    add constraint one_branch_each unique (model, tenant);
comment on column aliases.tenant is
'Whose branch of the alias model it is: only requests of that tenant reach it. null: everybody''s.';

-- What a tenant's rows taught is the tenant's: no other cycle goes on from it or learns from its
-- answers, and no other alias points at it.
alter table checkpoints
    add column tenant text generated always as (card ->> 'tenant') stored;
comment on column checkpoints.tenant is 'Whose feedback alone it has learnt from; null: everybody''s.';

alter table cycles add column tenant text;
comment on column cycles.tenant is
'Whose rows alone it reads; null: those of all. It is that of its alias.';

create or replace view ancestry as
select id, kind, folder, base, parent, root, created_at, pruned_at,
    card -> 'files' ? 'delta.safetensors' as changes_parent, tenant
from checkpoints;

create or replace view standing as
select name as alias, live, canary, canary_share, coalesce(model, name) as model, tenant
from aliases;
comment on view standing is
'Which checkpoints answer under each alias now. A tenant''s branch has the alias of its model in model, under which its answers are recorded.';

create or replace view turns as
select id, alias, incumbent, candidate, outcome, reason, learning, verdict, canary,
    started_at, ended_at, withdrawn_at, tenant
from cycles;

create or replace view consumed as
select r.cycle, r.day, r.generation, r.feedback, r.split, c.tenant
from cycle_rows r join cycles c on c.id = r.cycle
where c.outcome is null or c.outcome = 'promoted' and c.withdrawn_at is null;
comment on view consumed is
'Which answers and reactions are read: by a cycle that is open, or that made part of what is live. Cycles of a tenant''s branch and those of everybody''s alias read a row for themselves.';

create or replace view swaps as
select at, alias, action, checkpoint, previous, cycle, reason, evidence,
    lead(at) over (partition by alias order by id) as until, id,
    (select a.tenant from aliases a where a.name = releases.alias) as tenant
from releases;
