"""What is known of the classic hyperspectral scenes: addresses, sizes, variables, classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CATALOGUE", "CatalogueClass", "CatalogueEntry", "CatalogueFile"]


@dataclass(frozen=True)
class CatalogueFile:
    """A file of a scene: its name, address, variable (None for rasters) and check values."""

    name: str
    url: str | None = None
    variable: str | None = None
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class CatalogueClass:
    """A class: its value in the label file, its name, and how many pixels it has there."""

    value: int
    name: str
    count: int


@dataclass(frozen=True)
class CatalogueEntry:
    """A scene of the catalogue.

    Parameters
    ----------
    key, title, sensor : its names.
    shape : rows, columns, bands.
    image : the image file.
    labels : the label files; several (training and test samples) are put together.
    classes : in the order of their label values.
    source : where it comes from and on what terms.
    registration : the page to register at, where there is no direct address.
    """

    key: str
    title: str
    sensor: str
    shape: tuple[int, int, int]
    image: CatalogueFile
    labels: tuple[CatalogueFile, ...]
    classes: tuple[CatalogueClass, ...]
    source: str
    registration: str | None = None

    @property
    def files(self) -> tuple[CatalogueFile, ...]:
        """The image file and the label files."""
        return (self.image, *self.labels)

    @property
    def names(self) -> dict[int, str]:
        """Class names by label value."""
        return {one.value: one.name for one in self.classes}

    @property
    def labelled(self) -> int:
        """How many pixels are labelled."""
        return sum(one.count for one in self.classes)


def _classes(*classes: tuple[str, int], values: Sequence[int] = ()) -> tuple[CatalogueClass, ...]:
    numbers = values or range(1, len(classes) + 1)
    return tuple(
        CatalogueClass(value, name, count)
        for value, (name, count) in zip(numbers, classes, strict=True)
    )


_EHU = "https://www.ehu.eus/ccwintco/uploads/"
_EHU_PAGE = "https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes"
_TERMS = f"no licence stated; see {_EHU_PAGE}"
_CONTEST = "2013_IEEE_GRSS_DF_Contest"


def _file(
    address: str, variable: str, size: int | None = None, sha256: str | None = None
) -> CatalogueFile:
    return CatalogueFile(address.rsplit("/", 1)[-1], _EHU + address, variable, size, sha256)


_ENTRIES = (
    CatalogueEntry(
        key="pavia-university",
        title="Pavia University",
        sensor="ROSIS, 430-860 nm, 1.3 m",
        shape=(610, 340, 103),
        image=_file("e/ee/PaviaU.mat", "paviaU"),
        labels=(_file("5/50/PaviaU_gt.mat", "paviaU_gt"),),
        classes=_classes(
            ("Asphalt", 6631),
            ("Meadows", 18649),
            ("Gravel", 2099),
            ("Trees", 3064),
            ("Painted metal sheets", 1345),
            ("Bare soil", 5029),
            ("Bitumen", 1330),
            ("Self-blocking bricks", 3682),
            ("Shadows", 947),
        ),
        source=f"Paolo Gamba, University of Pavia; {_TERMS}",
    ),
    CatalogueEntry(
        key="pavia-centre",
        title="Pavia Centre",
        sensor="ROSIS, 430-860 nm, 1.3 m",
        shape=(1096, 715, 102),
        image=_file("e/e3/Pavia.mat", "pavia"),
        labels=(_file("5/53/Pavia_gt.mat", "pavia_gt"),),
        classes=_classes(
            ("Water", 65971),
            ("Trees", 7598),
            ("Asphalt", 3090),
            ("Self-blocking bricks", 2685),
            ("Bitumen", 6584),
            ("Tiles", 9248),
            ("Shadows", 7287),
            ("Meadows", 42826),
            ("Bare soil", 2863),
        ),
        source=f"Paolo Gamba, University of Pavia; {_TERMS}",
    ),
    CatalogueEntry(
        key="houston-2013",
        title="Houston 2013",
        sensor="CASI-1500, 380-1050 nm, 2.5 m",
        shape=(349, 1905, 144),
        image=CatalogueFile(f"{_CONTEST}_CASI.tif"),
        labels=(
            CatalogueFile(f"{_CONTEST}_Samples_TR.tif"),
            CatalogueFile(f"{_CONTEST}_Samples_VA.tif"),
        ),
        classes=_classes(
            ("Healthy grass", 1251),
            ("Stressed grass", 1254),
            ("Synthetic grass", 697),
            ("Trees", 1244),
            ("Soil", 1242),
            ("Water", 325),
            ("Residential", 1268),
            ("Commercial", 1244),
            ("Road", 1252),
            ("Highway", 1227),
            ("Railway", 1235),
            ("Parking lot 1", 1233),
            ("Parking lot 2", 469),
            ("Tennis court", 428),
            ("Running track", 660),
        ),
        source="IEEE GRSS Data Fusion Contest 2013, University of Houston; free on registration",
        registration="https://machinelearning.ee.uh.edu/?page_id=459",
    ),
    CatalogueEntry(
        key="indian-pines",
        title="Indian Pines",
        sensor="AVIRIS, 400-2500 nm, 20 m",
        shape=(145, 145, 200),
        image=_file("6/67/Indian_pines_corrected.mat", "indian_pines_corrected"),
        labels=(_file("c/c4/Indian_pines_gt.mat", "indian_pines_gt"),),
        classes=_classes(
            ("Alfalfa", 46),
            ("Corn-notill", 1428),
            ("Corn-mintill", 830),
            ("Corn", 237),
            ("Grass-pasture", 483),
            ("Grass-trees", 730),
            ("Grass-pasture-mowed", 28),
            ("Hay-windrowed", 478),
            ("Oats", 20),
            ("Soybean-notill", 972),
            ("Soybean-mintill", 2455),
            ("Soybean-clean", 593),
            ("Wheat", 205),
            ("Woods", 1265),
            ("Buildings-grass-trees-drives", 386),
            ("Stone-steel-towers", 93),
        ),
        source=f"Baumgardner, Biehl and Landgrebe, Purdue University; {_TERMS}",
    ),
    CatalogueEntry(
        key="salinas",
        title="Salinas",
        sensor="AVIRIS, 400-2500 nm, 3.7 m",
        shape=(512, 217, 204),
        image=_file("a/a3/Salinas_corrected.mat", "salinas_corrected"),
        labels=(_file("f/fa/Salinas_gt.mat", "salinas_gt"),),
        classes=_classes(
            ("Brocoli green weeds 1", 2009),
            ("Brocoli green weeds 2", 3726),
            ("Fallow", 1976),
            ("Fallow rough plow", 1394),
            ("Fallow smooth", 2678),
            ("Stubble", 3959),
            ("Celery", 3579),
            ("Grapes untrained", 11271),
            ("Soil vinyard develop", 6203),
            ("Corn senesced green weeds", 3278),
            ("Lettuce romaine 4wk", 1068),
            ("Lettuce romaine 5wk", 1927),
            ("Lettuce romaine 6wk", 916),
            ("Lettuce romaine 7wk", 1070),
            ("Vinyard untrained", 7268),
            ("Vinyard vertical trellis", 1807),
        ),
        source=f"Salinas Valley, California; {_TERMS}",
    ),
    CatalogueEntry(
        key="salinas-a",
        title="Salinas-A",
        sensor="AVIRIS, 400-2500 nm, 3.7 m",
        shape=(83, 86, 204),
        image=_file(
            "1/1a/SalinasA_corrected.mat",
            "salinasA_corrected",
            1539086,
            "d75684ed3ab71a1024cee0f9db9061f50a3523a92ff5edfbbb1eed976b9f1721",
        ),
        labels=(
            _file(
                "a/aa/SalinasA_gt.mat",
                "salinasA_gt",
                587,
                "17814c1d3296c0e29b27f320f2c4174d2a68adb87e376abe78f02923e2c2e454",
            ),
        ),
        classes=_classes(
            ("Brocoli green weeds 1", 391),
            ("Corn senesced green weeds", 1343),
            ("Lettuce romaine 4wk", 616),
            ("Lettuce romaine 5wk", 1525),
            ("Lettuce romaine 6wk", 674),
            ("Lettuce romaine 7wk", 799),
            values=(1, 10, 11, 12, 13, 14),
        ),
        source=f"Salinas Valley, California; {_TERMS}",
    ),
    CatalogueEntry(
        key="ksc",
        title="Kennedy Space Center",
        sensor="AVIRIS, 400-2500 nm, 18 m",
        shape=(512, 614, 176),
        image=_file("2/26/KSC.mat", "KSC"),
        labels=(_file("a/a6/KSC_gt.mat", "KSC_gt"),),
        classes=_classes(
            ("Scrub", 761),
            ("Willow swamp", 243),
            ("CP hammock", 256),
            ("CP/oak", 252),
            ("Slash pine", 161),
            ("Oak/broadleaf", 229),
            ("Hardwood swamp", 105),
            ("Graminoid marsh", 431),
            ("Spartina marsh", 520),
            ("Cattail marsh", 404),
            ("Salt marsh", 419),
            ("Mud flats", 503),
            ("Water", 927),
        ),
        source=f"NASA and the University of Texas at Austin; {_TERMS}",
    ),
    CatalogueEntry(
        key="botswana",
        title="Botswana",
        sensor="Hyperion on EO-1, 400-2500 nm, 30 m",
        shape=(1476, 256, 145),
        image=_file("7/72/Botswana.mat", "Botswana"),
        labels=(_file("5/58/Botswana_gt.mat", "Botswana_gt"),),
        classes=_classes(
            ("Water", 270),
            ("Hippo grass", 101),
            ("Floodplain grasses 1", 251),
            ("Floodplain grasses 2", 215),
            ("Reeds", 269),
            ("Riparian", 269),
            ("Firescar", 259),
            ("Island interior", 203),
            ("Acacia woodlands", 314),
            ("Acacia shrublands", 248),
            ("Acacia grasslands", 305),
            ("Short mopane", 181),
            ("Mixed mopane", 268),
            ("Exposed soils", 95),
        ),
        source=f"NASA and the University of Texas at Austin; {_TERMS}",
    ),
)

CATALOGUE: dict[str, CatalogueEntry] = {one.key: one for one in _ENTRIES}
"""The scenes by key."""
