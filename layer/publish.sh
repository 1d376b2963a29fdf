#!/bin/sh
# Publishes the zips of "make layer" as Lambda layers of your own account, one layer
# per architecture, and prints the ARN of each:
#
#   layer/publish.sh -r eu-central-1 -r us-east-1
#
# A zip that is already there as the newest version is not published again, so
# that a second run prints the same ARNs.
set -eu

usage() {
	cat >&2 <<'USAGE'
usage: publish.sh [-d dist] [-f small|full] [-a "amd64 arm64"] [-n name] [-r region]... [-s account|all] [-o organisation]

  -d  directory with the zips (dist)
  -f  flavour: small, settings by environment; full, configuration files too (small)
  -a  architectures, by Go's names ("amd64 arm64")
  -n  name of the layer; -arm64 is added for arm64 (latchkey-extension, or latchkey-extension-full)
  -r  region, may be given more than once (the one of your AWS configuration)
  -s  account that may use the layer too, or "all"
  -o  with -s all: only accounts of this organisation (o-...)

It needs the AWS command line, allowed to call lambda:ListLayerVersions,
lambda:PublishLayerVersion, and lambda:AddLayerVersionPermission with -s.
USAGE
	exit 2
}

dist=dist flavour=small arches='amd64 arm64' name='' regions='' share='' organisation=''
while getopts d:f:a:n:r:s:o:h option; do
	case $option in
	d) dist=$OPTARG ;;
	f) flavour=$OPTARG ;;
	a) arches=$OPTARG ;;
	n) name=$OPTARG ;;
	r) regions="$regions $OPTARG" ;;
	s) share=$OPTARG ;;
	o) organisation=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -eq 0 ] || usage

case $flavour in
small) zips=latchkey-extension ;;
full) zips=latchkey-extension-full ;;
*) usage ;;
esac
name=${name:-$zips}
if [ -n "$organisation" ] && [ "$share" != all ]; then
	echo 'publish.sh: -o goes with -s all' >&2
	exit 2
fi

say() { echo "publish.sh: $*" >&2; }

digest() {
	if command -v sha256sum >/dev/null; then
		sha256sum "$1"
	else
		shasum -a 256 "$1"
	fi | cut -d ' ' -f 1
}

# publish ZIP ARCHITECTURE LAYER REGION prints the ARN.
publish() {
	zip=$1 architecture=$2 layer=$3 region=$4
	set -- # the options for the region
	[ -z "$region" ] || set -- --region "$region"
	description="latchkey extension, $flavour, sha256 $(digest "$zip")"
	newest=$(aws lambda list-layer-versions "$@" --layer-name "$layer" --max-items 1 \
		--query 'LayerVersions[0].[LayerVersionArn,Description]' --output text)
	# One line, a tab between the two; "None" where there is no version yet.
	case $newest in
	*"	$description"*)
		say "$layer is there already"
		echo "${newest%%	*}"
		return
		;;
	esac
	arn=$(aws lambda publish-layer-version "$@" --layer-name "$layer" \
		--zip-file "fileb://$zip" --compatible-architectures "$architecture" \
		--description "$description" --license-info Apache-2.0 \
		--query LayerVersionArn --output text)
	if [ -n "$share" ]; then
		principal=$share
		[ "$share" != all ] || principal='*'
		number=${arn##*:}
		[ -z "$organisation" ] || set -- "$@" --organization-id "$organisation"
		aws lambda add-layer-version-permission "$@" --layer-name "$layer" --version-number "$number" \
			--statement-id use --action lambda:GetLayerVersion --principal "$principal" >/dev/null
	fi
	echo "$arn"
}

for arch in $arches; do
	case $arch in
	amd64) architecture=x86_64 layer=$name ;;
	arm64) architecture=arm64 layer=$name-arm64 ;;
	*) usage ;;
	esac
	zip=$dist/$zips-$arch.zip
	if [ ! -f "$zip" ]; then
		say "there is no $zip: run make layer"
		exit 1
	fi
	for region in ${regions:-default}; do
		[ "$region" != default ] || region=''
		publish "$zip" "$architecture" "$layer" "$region"
	done
done
