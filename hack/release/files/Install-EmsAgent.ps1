#Requires -Version 5.1
#Requires -RunAsAdministrator
<#
.SYNOPSIS
Installs the EMS agent as a service, or puts a newer version in the place of an older one.

.DESCRIPTION
Copies ems-agent.exe to Program Files, enrols the server if a string is given, and installs and starts the service EMSAgent.
Running it again does no harm: what is already as it should be stays, and a newer program replaces the older one while the
service is stopped. If the new one does not start, the older one is put back.

The program is compared with SHA256SUMS beside it, which finds a damaged copy. Whether the archive is the one that was published
is for you to compare, with the SHA256SUMS of the release.

.PARAMETER EnrolmentString
What "kubectl mitigation enroll" printed (EMS1...). It is a secret until it is used. Prefer EnrolmentFile: what stands in a command
line is kept in the history of the shell.

.PARAMETER EnrolmentFile
File with the enrolment string. Delete it afterwards; a string is good for one time.

.PARAMETER TrustFile
Trust policy of this server (trust.yaml). It is copied to C:\ProgramData\EMS, if there is none yet or with -Force.

.PARAMETER Proxy
HTTP proxy on the way to the API server, http://HOST:PORT, or none.

.PARAMETER StateDir
Folder for journal, plan and documents. Absent: C:\ProgramData\EMS\state.

.PARAMETER AgentArgument
Further settings of the service, such as --product=ExchangeServer.

.PARAMETER Force
Replaces a trust policy that is already there.

.EXAMPLE
.\Install-EmsAgent.ps1 -EnrolmentFile .\fe01.txt -TrustFile .\trust.yaml

.EXAMPLE
.\Install-EmsAgent.ps1
Upgrades a server that is enrolled.

.NOTES
Version v0.0.0-dev
#>
[CmdletBinding(DefaultParameterSetName = 'Enrolled', SupportsShouldProcess = $true)]
param(
    [Parameter(Mandatory = $true, ParameterSetName = 'String')]
    [ValidatePattern('^EMS1\.')]
    [string] $EnrolmentString,

    [Parameter(Mandatory = $true, ParameterSetName = 'File')]
    [ValidateNotNullOrEmpty()]
    [string] $EnrolmentFile,

    [ValidateNotNullOrEmpty()]
    [string] $TrustFile,

    [ValidateNotNullOrEmpty()]
    [string] $Proxy,

    [ValidateNotNullOrEmpty()]
    [string] $StateDir,

    [string[]] $AgentArgument = @(),

    [switch] $Force
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$serviceName = 'EMSAgent'
$programDir = Join-Path $env:ProgramFiles 'EMS'
$program = Join-Path $programDir 'ems-agent.exe'
$previous = Join-Path $programDir 'ems-agent.previous.exe'
$dataDir = Join-Path $env:ProgramData 'EMS'
$source = Join-Path $PSScriptRoot 'ems-agent.exe'

# Reads the digest that SHA256SUMS has for a file beside it.
function Get-ExpectedDigest {
    param([string] $Name)
    foreach ($line in Get-Content -LiteralPath (Join-Path $PSScriptRoot 'SHA256SUMS')) {
        $digest, $file = $line -split '\s+', 2
        if ($file -eq $Name) { return $digest }
    }
    throw "SHA256SUMS: says nothing of $Name"
}

function Get-Digest {
    param([string] $Path)
    return (Get-FileHash -LiteralPath $Path -Algorithm SHA256).Hash
}

# Runs the agent's program and fails with it.
function Invoke-Agent {
    param([string[]] $Arguments)
    & $program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "ems-agent $($Arguments[0]): exit code $LASTEXITCODE" }
}

$expected = Get-ExpectedDigest 'ems-agent.exe'
if ((Get-Digest $source) -ne $expected) {
    throw "ems-agent.exe is not the one that SHA256SUMS names: unpack the archive again, and compare its digest with that of the release"
}

$upgrade = Test-Path -LiteralPath $program
$replace = -not $upgrade -or (Get-Digest $program) -ne $expected
$service = Get-Service -Name $serviceName -ErrorAction SilentlyContinue
$stopped = $false
$replaced = $false

try {
    if ($replace -and $PSCmdlet.ShouldProcess($program, 'replace the program')) {
        New-Item -ItemType Directory -Force -Path $programDir | Out-Null
        if ($service -and $service.Status -ne 'Stopped') {
            $stopped = $true
            Stop-Service -Name $serviceName
            # A change that has begun is ended first, a minute at most.
            $service.WaitForStatus('Stopped', [TimeSpan]::FromSeconds(90))
        }
        if ($upgrade) {
            Copy-Item -LiteralPath $program -Destination $previous -Force
            $replaced = $true
        }
        Copy-Item -LiteralPath $source -Destination $program -Force
    }

    if ($TrustFile) {
        $trust = Join-Path $dataDir 'trust.yaml'
        if (-not (Test-Path -LiteralPath $trust) -or $Force) {
            if ($PSCmdlet.ShouldProcess($trust, 'write the trust policy')) {
                New-Item -ItemType Directory -Force -Path $dataDir | Out-Null
                Copy-Item -LiteralPath $TrustFile -Destination $trust -Force
            }
        }
        elseif ((Get-Digest $trust) -ne (Get-Digest $TrustFile)) {
            throw "$trust is there and another one; -Force replaces it"
        }
    }

    if ($PSCmdlet.ParameterSetName -eq 'File') {
        $EnrolmentString = (Get-Content -LiteralPath $EnrolmentFile -Raw).Trim()
    }
    $shared = @()
    if ($StateDir) { $shared += "-state-dir=$StateDir" }
    if ($Proxy) { $shared += "-proxy=$Proxy" }
    if ($EnrolmentString -and $PSCmdlet.ShouldProcess($env:COMPUTERNAME, 'enrol the server')) {
        # By the standard input: the command line of a program can be read by every user of the server.
        $EnrolmentString | & $program enroll -token - @shared
        if ($LASTEXITCODE -ne 0) { throw "ems-agent enroll: exit code $LASTEXITCODE" }
    }

    if ($PSCmdlet.ShouldProcess($serviceName, 'install and start the service')) {
        if ($service -and $shared.Count -eq 0 -and $AgentArgument.Count -eq 0) {
            # Its settings stand in its command line and stay as they are.
            if ((Get-Service -Name $serviceName).Status -ne 'Running') { Invoke-Agent @('service', 'start') }
        }
        else {
            Invoke-Agent (@('service', 'install', '--start') + $shared + $AgentArgument)
        }
    }
}
catch {
    $reason = $_
    if ($replaced) {
        Write-Warning "The new version did not come up: the older one is put back. $reason"
        Stop-Service -Name $serviceName -ErrorAction SilentlyContinue
        Copy-Item -LiteralPath $previous -Destination $program -Force
    }
    if ($replaced -or $stopped) {
        # Also where the disk was full half-way: the server is not left without its agent.
        Start-Service -Name $serviceName -ErrorAction SilentlyContinue
    }
    throw $reason
}

if (-not $WhatIfPreference) { & $program -version }
