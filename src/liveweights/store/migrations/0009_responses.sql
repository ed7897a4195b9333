-- Answers of /v1/responses. A conversation is a chain of them: each row holds what was new in
-- its turn, so that a long one is stored once.

create table responses (
    id          text primary key,
    tenant      text not null,
    user_id     text,
    previous    text,
    created_at  timestamptz not null,
    input       jsonb not null,
    body        jsonb not null
);
create index responses_by_user on responses (tenant, user_id) where user_id is not null;
