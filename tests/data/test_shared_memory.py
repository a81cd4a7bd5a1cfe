"""Batches in one piece of memory, as data workers hand them on."""

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader, Dataset

from ssod.data.shared_memory import share_together


def sample(number):
    """An image of its own size without, and one with a box."""
    views = {'weak': None, 'strong': torch.full((3, 4 + number, 5), number, dtype=torch.uint8)}
    instances = InstanceData(
        bboxes=HorizontalBoxes(torch.tensor([[0.0, 1.5, 2, number]])), labels=torch.tensor([number])
    )
    data_sample = DetDataSample(gt_instances=instances, metainfo={'img_id': number})
    return {'inputs': views, 'data_samples': {'weak': None, 'strong': data_sample}}


class Samples(Dataset):
    """Samples, whole batches of which are shared."""

    def __getitems__(self, indices):
        batch = [sample(index) for index in indices]
        share_together(batch)
        return batch

    def __len__(self):
        return 3


def check(batch):
    """It is as it was made, in one piece of memory."""
    memory = set()
    for number, loaded in enumerate(batch):
        image, data_sample = loaded['inputs']['strong'], loaded['data_samples']['strong']
        expected = sample(number)['inputs']['strong']
        assert torch.equal(image, expected)
        assert image.dtype == torch.uint8
        assert loaded['inputs']['weak'] is None
        boxes = data_sample.gt_instances.bboxes
        assert boxes.tensor.tolist() == [[0, 1.5, 2, number]]
        assert data_sample.gt_instances.labels.tolist() == [number]
        assert data_sample.img_id == number
        tensors = image, boxes.tensor, data_sample.gt_instances.labels
        memory |= {tensor.untyped_storage().data_ptr() for tensor in tensors}
    assert len(memory) == 1


def test_a_batch_keeps_its_content():
    batch = [sample(number) for number in range(3)]
    share_together(batch)
    check(batch)


def test_pixels_keep_their_order():
    image = torch.arange(24).view(2, 4, 3).permute(2, 0, 1)
    # Of a part, what lies between its numbers is left out.
    part = torch.arange(12).view(3, 4)[:, 1:3]
    expected = [image.tolist(), part.tolist()]
    share_together([image, part])
    assert [image.tolist(), part.tolist()] == expected
    assert image.stride() == (1, 12, 3)
    assert part.stride() == (2, 1)


def test_a_worker_hands_on_one_piece():
    (batch,) = DataLoader(Samples(), batch_size=3, num_workers=1, collate_fn=list)
    check(batch)


def test_what_is_written_into_one_image_is_in_no_other():
    batch = [sample(number) for number in range(3)]
    share_together(batch)
    batch[1]['inputs']['strong'].fill_(255)
    check([batch[0]])
    assert (batch[2]['inputs']['strong'] == 2).all()


def test_nothing_to_share():
    share_together([{'inputs': {'weak': None}}, 'text', torch.zeros(0, 4)])
