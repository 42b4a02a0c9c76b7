"""Nova's own fake driver as one more hypervisor: all that it takes, and nothing else knows it."""

import pathlib

from altostratus.hypervisors import Entry, ImageForm

FOLDER = pathlib.Path(__file__).parent
TEMPLATE = FOLDER / "heat" / "fake.yaml"
ELEMENT = FOLDER / "elements" / "nova-compute-fake"

ENTRY = Entry(
    hypervisor_type="fake",
    image_form=ImageForm.FILE_SYSTEM,
    container_format="bare",
    trait="CUSTOM_HYPERVISOR_FAKE",
    template="fake.yaml",
    server="fake_server",
    compute_driver="fake.FakeDriver",
)
