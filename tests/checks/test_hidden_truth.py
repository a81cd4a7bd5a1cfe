"""What is told of the hidden truth before a run."""

import json

import pytest

from ssod.checks.before_run import report_on_all
from ssod.checks.hidden_truth import check_hidden_truth


@pytest.mark.parametrize(
    ('content', 'told'),
    [(None, 'does not exist'), ({'images': []}, "it has no list 'annotations'")],
)
def test_what_is_wrong_with_it(world, content, told):
    file = world.root / 'truth.json'
    world.write()
    _, reports = report_on_all(world.cfg, ['train'])
    assert check_hidden_truth(world.cfg, reports) == []
    world.cfg.default_hooks.quality = dict(type='PseudoLabelQualityHook', ann_file=str(file))
    if content is not None:
        file.write_text(json.dumps(content))
    (finding,) = check_hidden_truth(world.cfg, reports)
    assert (finding.severity, finding.file) == ('error', str(file))
    assert told in finding.what
    file.write_text(json.dumps(world.labeled))
    assert check_hidden_truth(world.cfg, reports) == []
    for image in world.labeled['images']:
        image['file_name'] = f'other_{image["id"]}.png'
    file.write_text(json.dumps(world.labeled))
    (finding,) = check_hidden_truth(world.cfg, reports)
    assert 'has none of the unlabelled images' in finding.what
