package aws

import "strings"

// globalRegion is where the endpoint without a region signs for.
const globalRegion = "us-east-1"

// endpoint is one STS: where it is, and the region that is signed for.
type endpoint struct{ url, region string }

// endpoint chooses one. Explicit is a URL from the configuration, region one from
// there; either may be "". With neither, it is the global endpoint, because that is
// what a server asks which was told nothing else; but not for keys of another
// partition, which it does not know.
func (s Settings) endpoint(explicit, region string) endpoint {
	if explicit == "" {
		explicit = s.env("AWS_ENDPOINT_URL_STS")
	}
	if explicit == "" && s.env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") != "true" {
		explicit = s.env("AWS_ENDPOINT_URL")
	}
	here := s.region()
	if region == "" && elsewhere(here) {
		region = here
	}
	fips, dual := s.is("AWS_USE_FIPS_ENDPOINT"), s.is("AWS_USE_DUALSTACK_ENDPOINT")
	if region == "" && (fips || dual) {
		region = here
	}
	switch {
	case explicit != "":
		if region == "" {
			region = globalRegion
		}
		if !strings.Contains(explicit, "://") {
			explicit = "https://" + explicit
		}
		return endpoint{strings.TrimSuffix(explicit, "/") + "/", region}
	case region == "":
		return endpoint{"https://sts.amazonaws.com/", globalRegion}
	}
	host, there := "sts", partitionOf(region)
	if fips && (dual || !strings.HasPrefix(region, "us-gov-")) { // of those there, the plain one is FIPS's
		host = "sts-fips"
	}
	suffix := there.domain
	if dual {
		suffix = there.dual
	}
	return endpoint{"https://" + host + "." + region + "." + suffix + "/", region}
}

// region is where the environment says we are.
func (s Settings) region() string {
	if r := s.env("AWS_REGION"); r != "" {
		return r
	}
	return s.env("AWS_DEFAULT_REGION")
}

func (s Settings) is(name string) bool { return strings.EqualFold(s.env(name), "true") }

// elsewhere says whether a region's keys are unknown to the global endpoint.
func elsewhere(region string) bool {
	return strings.HasPrefix(region, "us-gov-") || partitionOf(region) != partitionOf(globalRegion)
}

// partition is a part of AWS with names of its own: what those of its endpoints end
// in, over IPv4 and over both.
type partition struct{ prefix, domain, dual string }

func partitionOf(region string) partition {
	for _, p := range [...]partition{
		{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
		{"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
		{"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
		{"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
		{"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
		{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p
		}
	}
	return partition{"", "amazonaws.com", "api.aws"}
}
