"""What licences themselves say, as rules: they hold unless a rule or an override of yours says
otherwise. Made from paraphrases, not legal advice."""

from __future__ import annotations

from liveweights.terms.rules import Conditions, Rule

SAYS_OUTPUTS_ARE_FREE = ("OpenMDW-1.1",)
SAYS_OUTPUTS_MAY_TEACH = (
    "LicenseRef-Gemma-Terms",
    "LicenseRef-Llama-3.1-Community",
    "LicenseRef-Llama-3.2-Community",
    "LicenseRef-Llama-3.3-Community",
    "LicenseRef-Llama-4-Community",
)
"""Whose duty about training on outputs is a condition, no ban."""

DEFAULTS = (
    Rule(
        name="non-commercial",
        when=("route", "learn", "release"),
        on=Conditions(duty=("non-commercial",), purpose=("commercial",)),
        then="deny",
        reason="its licence does not allow commercial use",
    ),
    Rule(
        name="non-commercial-purpose",
        on=Conditions(duty=("non-commercial",)),
        unless=Conditions(purpose=("research", "personal", "evaluation")),
        then="warn",
        reason="its licence allows no commercial use; `purposes` says what it is used for",
    ),
    Rule(
        name="output-training",
        when=("learn",),
        on=Conditions(duty=("output-training",), learner=("another",)),
        unless=Conditions(licence=(*SAYS_OUTPUTS_ARE_FREE, *SAYS_OUTPUTS_MAY_TEACH)),
        then="deny",
        reason="its licence does not let other models learn from its answers",
    ),
    Rule(
        name="output-training-terms",
        when=("learn",),
        on=Conditions(
            duty=("output-training",), licence=SAYS_OUTPUTS_MAY_TEACH, learner=("another",)
        ),
        then="warn",
        reason="its licence has terms for models that learn from its answers",
    ),
    Rule(
        name="unknown-licence",
        on=Conditions(licence_kind=("unknown",)),
        then="warn",
        reason="its licence is not known: nothing says that it may be used so",
    ),
    Rule(
        name="thresholds",
        when=("load", "export", "release"),
        on=Conditions(
            duty=(
                "revenue-threshold",
                "user-threshold",
                "hosting-agreement",
                "security-review",
                "registration",
            )
        ),
        then="warn",
        reason="its licence asks for more of large or hosting businesses",
    ),
    Rule(
        name="region",
        when=("load", "export", "release"),
        on=Conditions(duty=("region",)),
        then="warn",
        reason="its licence is not given everywhere",
    ),
    Rule(
        name="guardrail",
        when=("learn", "release"),
        on=Conditions(duty=("guardrail",)),
        then="warn",
        reason="its licence ends where its guardrails are weakened",
    ),
    Rule(
        name="display-name",
        when=("load", "route", "release"),
        on=Conditions(duty=("display-name",)),
        then="notice",
        reason="its licence asks for its name to be shown",
    ),
    Rule(
        name="passed-on",
        when=("export", "release"),
        on=Conditions(
            duty=(
                "notice",
                "attribution",
                "derivative-naming",
                "derivative-terms",
                "acceptable-use",
            )
        ),
        then="notice",
        reason="its licence asks for this of whatever is made from it",
    ),
    Rule(
        name="learnt-from",
        when=("learn",),
        on=Conditions(duty=("attribution", "derivative-naming")),
        then="notice",
        reason="its licence asks for this of a model that is trained on it or on its answers",
    ),
)
