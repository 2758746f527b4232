"""Install mmrazor_byot, with its configs, tools and model index.

OpenMMLab's tools (mim, MMEngine's hub) look for these in the package's folder ``.mim``. A build
copies them there; an editable install links them, so that the checkout's own files are found.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = 'mmrazor_byot'
MIM_FILES = ('configs', 'tools', 'model-index.yml')


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding='utf-8')


def version() -> str:
    text = read(f'{PACKAGE}/version.py')
    return re.search(r"__version__ = '(.+)'", text).group(1)


def requirements(name: str) -> list:
    lines = (line.split('#')[0].strip() for line in read(f'requirements/{name}.txt').splitlines())
    return [line for line in lines if line]


class BuildWithMim(build_py):
    """Puts MIM_FILES into the package's ``.mim``."""

    def run(self) -> None:
        super().run()
        if getattr(self, 'editable_mode', False):
            self.fill(ROOT / PACKAGE / '.mim', link=True)
        else:
            self.fill(Path(self.build_lib) / PACKAGE / '.mim', link=False)

    def fill(self, mim: Path, link: bool) -> None:
        if mim.is_symlink() or mim.exists():
            shutil.rmtree(mim)
        mim.mkdir(parents=True)
        for name in MIM_FILES:
            source, target = ROOT / name, mim / name
            if link:
                target.symlink_to(Path('..', '..', name))
            elif source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy2(source, target)


setup(
    name=PACKAGE,
    version=version(),
    description='Be Your Own Teacher: self-distillation and early exits for OpenMMLab classifiers',
    long_description=read('README.md'),
    long_description_content_type='text/markdown',
    author='mmrazor_byot contributors',
    url='https://arxiv.org/abs/1905.08094',
    license='Apache-2.0',
    keywords='self-distillation early-exit knowledge-distillation OpenMMLab MMRazor mmpretrain',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['py.typed']},
    python_requires='>=3.10',
    install_requires=requirements('runtime') + requirements('mminstall'),
    extras_require={
        'tests': requirements('tests') + requirements('deploy'),
        'docs': requirements('docs'),
        'optional': requirements('optional'),
        'deploy': requirements('deploy'),
        'all': requirements('tests')
        + requirements('docs')
        + requirements('optional')
        + requirements('deploy'),
    },
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
