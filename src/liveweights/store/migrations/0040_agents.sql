-- Folders of documents that models may search, and conversations that are kept.

do $$ begin
    create extension if not exists pg_trgm;
exception when insufficient_privilege or undefined_file or feature_not_supported then
    raise notice 'no pg_trgm: documents are found by whole words only';
end $$;

create table document_folders (
    name        text primary key,
    place       text not null,                -- where its files are
    tenants     text[] not null default '{}', -- none: everybody's
    indexed_at  timestamptz not null default now()
);
comment on table document_folders is
'Folders whose documents models may search. See `liveweights documents`.';

create table documents (
    id      bigint generated always as identity primary key,
    folder  text not null references document_folders on delete cascade,
    path    text not null,                    -- within the folder
    title   text not null,
    digest  text not null,                    -- SHA-256 of the file
    body    text not null,
    unique (folder, path)
);
comment on table documents is 'The texts of the files of each folder, as they were when it was read.';

create table passages (
    document  bigint not null references documents on delete cascade,
    start     int not null,                   -- its first character in the document
    body      text not null,
    words     tsvector not null,
    primary key (document, start)
);
create index passages_by_word on passages using gin (words);
comment on table passages is 'The documents in parts of about a page, as they are searched.';

do $$ begin
    if exists (select from pg_extension where extname = 'pg_trgm') then
        create index passages_by_trigram on passages using gin (body gin_trgm_ops);
    end if;
end $$;

create table conversations (
    id          text primary key,
    tenant      text not null,
    created_at  timestamptz not null,
    metadata    jsonb not null
);
comment on table conversations is
'Conversations of /v1/conversations, which answers of /v1/responses go on from.';

create table conversation_items (
    conversation  text not null references conversations on delete cascade,
    position      bigint generated always as identity,
    id            text not null,
    user_id       text,
    created_at    timestamptz not null,
    item          jsonb not null,
    primary key (conversation, id)
);
create index conversation_items_in_order on conversation_items (conversation, position);
create index conversation_items_by_user on conversation_items (user_id) where user_id is not null;
comment on table conversation_items is
'What was said in each conversation; user_id is of who asked, null: it was put there.';

create view tool_calls as
select r.id as response, r.created_at, r.tenant, r.body ->> 'model' as alias,
    r.body ->> 'checkpoint' as checkpoint, coalesce(r.body ->> 'episode', r.id) as episode,
    coalesce(o.item ->> 'server_label', '') as server,
    coalesce(o.item ->> 'name', 'python') as name,
    coalesce(o.item ->> 'arguments', o.item ->> 'code', '') as arguments,
    o.item ->> 'type' <> 'function_call' as served,
    o.item ->> 'status' = 'failed' as failed,
    r.body -> 'incomplete_details' ->> 'reason' as ended
from responses r
cross join lateral jsonb_array_elements(r.body -> 'output') with ordinality as o (item, place)
where o.item ->> 'type' in ('mcp_call', 'code_interpreter_call', 'function_call');
comment on view tool_calls is
'One row per call of a tool in an answer of /v1/responses that was kept. served: the server made it, and failed says whether that went wrong; ended is the bound at which the answer ended, if one did.';
