"""Serve an open-weight model, learn from its users, and release better weights with proof.

The circle, in the order in which data moves through it:

    serve    api/ (OpenAI's dialect), gateway/ (bytes passed on, recorded), the models, the router
    engines  llama/ torch/ openvino/ ternary/ vllm/ and any OpenAI server: one protocol
    record   what happened: generations and feedback, one batching writer
    learn    feedback to reward to advantage to weights
    gate     candidate against incumbent: statistics, suites, the sandbox
    release  the decision to promote, canaries, aliases, the deployer, lineage, scorecards
    cycle    one turn of the circle as a row with a state

Around it, those who carry it, look at it and steer it:

    weights  files of weights: finding, naming by content, converting, storing, signing
    ternary  weights of -1, 0 and 1: kernels, layers, making them, learning on them
    catalog  what is known of a model: its card, the catalogue of others, its chat template
    terms    rules of use: what each model may be used for, which models fit a request
    sharing  weights for others and of others: exports that repeat nobody's words, imports, merges
    bom      bills of materials: whose weights, from which feedback, under what duties, with proofs
    adoption how much open models are used, here and in the world as published
    exposure whose models carry the service, and what breaks if one goes away
    meter    keys, tenants, limits, budgets, prices, ledger, bills
    insight  questions about live data, one SQL file each
    scoreboard  scores of models on suites: paired, all pairs, ties said as ties
    console  the pages: answer, checkpoint, cycle, feedback, verdict, release, rollback
    access   who may use the console: users and roles, passwords, sessions, the audit
    http     errors, wire, streaming, authentication, routes: shared by all that speak HTTP
    store    Postgres: connection, migrations, the embedded server
    agent    tools that the server runs while a model answers, and when that ends
    agentdb  databases for agents
    documents  folders of texts that models may search
    editor   a language server: suggestions in people's own editors, feedback by itself
    replay   replayed users, for the demo, the tests and the benchmarks
    cli      the commands
    app      the only place where parts are wired together: processes, supervisor, server
"""

__version__ = "0.1.0"
