import pytest

import mmrazor_byot.inference  # noqa: F401  (it registers them)
from mmrazor_byot.policies import POLICY_TYPES, PatiencePolicy
from mmrazor_byot.registry import POLICIES


@pytest.mark.parametrize('scope', ['', 'mmrazor_byot.'])
def test_policies_are_registered(scope):
    policy = POLICIES.build(dict(type=f'{scope}PatiencePolicy', patience=3))
    assert isinstance(policy, PatiencePolicy) and policy.patience == 3
    assert all(
        POLICIES.get(name) is POLICY_TYPES[name]
        for name in (
            'FixedExitPolicy',
            'ConfidencePolicy',
            'MarginPolicy',
            'EntropyPolicy',
            'PatiencePolicy',
        )
    )
