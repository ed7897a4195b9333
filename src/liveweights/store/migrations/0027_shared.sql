-- What others may read of a package's tables. Tables behind these views may change; the columns
-- that are named here are kept.

create view ancestry as
select id, kind, folder, base, parent, root, created_at, pruned_at,
    -- A delta is nothing without the weights that it changes.
    card -> 'files' ? 'delta.safetensors' as changes_parent
from checkpoints;
comment on view ancestry is
'Every checkpoint, what it was made from, and the base (root) that it stands on in the end. changes_parent says that its files only hold what differs from its parent.';

create view standing as
select name as alias, live, canary, canary_share from aliases;
comment on view standing is 'Which checkpoints answer under each alias now.';

create view recorded as
select day, id, created_at, alias, checkpoint, tenant, session, user_id from generations;
comment on view recorded is
'Every recorded answer by its id, without texts and tokens. Give a range of day: only those days are read.';

create view claimed as
select cycle, day, generation, feedback, split from cycle_rows;
comment on view claimed is
'Which answers and reactions each cycle claimed, and for what: to train on, or to be judged by.';

create view counted as
select r.whole, r.width, r.bucket, s.alias, s.checkpoint, s.tenant, s.surface,
    r.generations, r.silent, r.cancelled, r.failed, r.prompt_tokens, r.output_tokens, r.cost_nanos,
    r.feedback, r.reacted, r.silent_reacted, r.accepted, r.rejected,
    r.value_micros, r.accepted_micros, r.rejected_micros
from rollups r join series s on s.id = r.series;
comment on view counted is
'Counts per width (minutes), bucket and series in exact units. whole rows are over all tenants and surfaces: read either them or the others. stats is the same for people.';

create view timed as
select h.whole, h.width, h.bucket, s.alias, s.checkpoint, s.tenant, s.surface, h.measure, h.bin,
    h.count
from rollup_histograms h join series s on s.id = h.series;
comment on view timed is
'How many answers fell into each bin of a duration: bin b is from 2^(b/4) to 2^((b+1)/4) ms. latency is the same for people.';

create view judged as
select o.day, o.generation, o.generated_at, o.user_id, o.decided_by, o.value_micros,
    o.accepted_micros, o.rejected_micros, s.alias, s.checkpoint, s.tenant, s.surface
from outcomes o join series s on s.id = o.series;
comment on view judged is 'outcomes, with the alias, checkpoint, tenant and surface of the answer.';

create view occupied as
select at, instance, slots, running, waiting, resident, in_use from engine_metrics;
comment on view occupied is
'How busy each instance of the API was, a row per sample. load is the same per checkpoint.';

create or replace view swaps as
select at, alias, action, checkpoint, previous, cycle, reason, evidence,
    lead(at) over (partition by alias order by id) as until, id
from releases;
