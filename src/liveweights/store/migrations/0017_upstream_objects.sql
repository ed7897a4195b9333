-- Objects that passing requests made at an upstream (files, responses, batches), and whose they are:
-- tenants share the key, and only the tenant that made one may name it.

create table upstream_objects (
    upstream    text not null,
    kind        text not null,
    id          text not null,
    tenant      text not null,
    created_at  timestamptz not null default now(),
    primary key (upstream, kind, id)
);
